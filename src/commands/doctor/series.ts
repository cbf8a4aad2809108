// How many series each family would have, by the rules of docs/metrics.md ("How many series"). Pure.

import type { Family } from "../../metrics/family.ts";

/** Counted in rows or names. */
export interface Deployment {
  readonly templates: number;
  readonly versions: number;
  /** Names of presets, over all templates. */
  readonly presets: number;
  /** That are not deleted, or were so lately that their series are still shown. */
  readonly workspaces: number;
}

/** `other` and `user_canceled`, and one of Coder's own. */
const ERROR_CODES = 3;
/** Of a workspace, by transition: it has been on that many by the time. */
const VERSIONS_OF_WORKSPACE = 2;
const TRANSITIONS_OF_WORKSPACE = 2;

/** Lines of a histogram with so many buckets: each, +Inf, sum and count. */
const lines = (buckets: number): number => buckets + 3;

const labelSets = ({ templates, presets }: Deployment): number => templates + presets;
/** Templates, and those that have presets once more for what the pool makes. */
const kinds = ({ templates, presets }: Deployment, each: number): number =>
  templates * (1 + (presets > 0 ? each : 0));

type Rule = (deployment: Deployment, family: Family) => number;

const RULES: Readonly<Record<string, Rule>> = {
  workspace_creation_attempts_total: labelSets,
  workspace_creation_outcomes_total: (d) => 3 * labelSets(d),
  workspace_creation_failures_total: (d) => 2 * ERROR_CODES * labelSets(d),
  workspace_creation_total: labelSets,
  workspace_creations_in_flight: labelSets,
  workspace_creation_oldest_in_flight_timestamp_seconds: labelSets,
  workspace_builds_enqueued_total: () => 45,
  workspace_creation_duration_seconds: (d) => lines(8) * (2 * d.presets + d.templates),
  prebuilt_workspace_claim_duration_seconds: (d) => lines(10) * d.presets,
  workspace_builds_total: (d) =>
    2 * VERSIONS_OF_WORKSPACE * TRANSITIONS_OF_WORKSPACE * d.workspaces,
  retired_workspace_builds_total: (d) => 2 * TRANSITIONS_OF_WORKSPACE * d.versions,
  provisionerd_workspace_build_timings_seconds: (d) => lines(8) * 6 * d.versions,
  provisioner_job_queue_wait_seconds: () => lines(12) * (45 + 2),
  provisionerd_job_timings_seconds: () => lines(8) * 2,
  provisionerd_jobs_current: () => 1,
  prebuilt_workspaces_created_total: (d) => d.presets,
  prebuilt_workspaces_failed_total: (d) => d.presets,
  prebuilt_workspaces_claimed_total: (d) => d.presets,
  agents_first_connection_seconds: (d, family) =>
    lines(9) * (family.whose === undefined ? d.templates : d.workspaces),
  retired_agents_first_connection_seconds: (d) => lines(9) * d.templates,
  agents_connection_timeouts_total: (d) => d.templates,
  api_workspace_latest_build: () => 6,
  workspace_latest_build_status: (d) => d.workspaces,
  agents_up: (d) => d.workspaces,
  template_workspace_build_duration_seconds: (d) => lines(8) * 3 * kinds(d, 1),
  time_to_first_light_seconds: (d) => 4 * lines(10) * kinds(d, 2),
  dropped_samples_total: () => 2,
};

/** About how many lines of text a family has in a scrape; null: there is no rule for it. */
export function seriesOf(family: Family, deployment: Deployment): number | null {
  const rule = RULES[family.name];
  return rule === undefined ? null : Math.round(rule(deployment, family));
}
