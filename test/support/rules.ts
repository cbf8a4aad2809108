// The recording rules of deploy/prometheus, made from the catalog: the same few expressions at two levels and over several
// windows, so that they are written once and can not differ. docs/rules.md says what they mean and why they are so.

import { must } from "../../src/errors.ts";
import { createCatalog } from "../../src/metrics/catalog.ts";
import { fullName } from "../../src/metrics/family.ts";

export const RULES = new URL("../../deploy/prometheus/recording.rules.yml", import.meta.url);

/** A stretch of time over which something is counted, as PromQL writes it. */
export interface Window {
  readonly length: string;
  /** How old the value at its beginning may be: outages of ours up to this long leave no hole when they pass by there. */
  readonly lookback: string;
}

const WINDOWS: readonly Window[] = [
  { length: "1h", lookback: "10m" },
  { length: "1d", lookback: "1h" },
  { length: "7d", lookback: "1h" },
  { length: "30d", lookback: "1h" },
];

const PREFIX = "coderd_";
const JOB = 'job="firstlight"';
const PLACE = ["organization_name", "template_name"];
const PRESET = [...PLACE, "preset_name"];

const CATALOG = createCatalog({
  agentLabels: ["template_name", "agent_name", "username", "workspace_name"],
});

/** By organization and template, or all of a job. */
type Level = "template" | "job";

/** What we export: a counter or a gauge, or the buckets or the sums of a histogram. */
interface Exported {
  readonly family: string;
  readonly suffix?: "_bucket" | "_sum";
  /** Which of its series, as PromQL writes it. Default: all. */
  readonly only?: string;
}

/** A total, and what of its labels is recorded. */
interface Total extends Exported {
  /** Labels that say where, kept at the level of the template only. */
  readonly place: readonly string[];
  /** Labels that are kept at both levels. */
  readonly kept: readonly string[];
}

const ATTEMPTS: Total = { family: "workspace_creation_attempts_total", place: PLACE, kept: [] };
const OUTCOMES: Total = {
  family: "workspace_creation_outcomes_total",
  place: PLACE,
  kept: ["status"],
};
const FAILURES: Total = {
  family: "workspace_creation_failures_total",
  place: PLACE,
  kept: ["stage", "error_code"],
};
const CREATED: Total = { family: "workspace_creation_total", place: PLACE, kept: [] };
const CLAIMED: Total = { family: "prebuilt_workspaces_claimed_total", place: PLACE, kept: [] };
const CONNECTED: Total = {
  family: "agents_first_connection_seconds",
  suffix: "_bucket",
  place: ["template_name"],
  kept: ["le"],
};
const LIGHT: Total = {
  family: "time_to_first_light_seconds",
  suffix: "_bucket",
  only: 'phase="total"',
  place: PLACE,
  kept: ["type", "phase", "le"],
};
const LIGHT_SUM: Total = {
  family: "time_to_first_light_seconds",
  suffix: "_sum",
  place: PLACE,
  kept: ["type", "phase"],
};
/** Those whose increases are recorded too. */
const COUNTED = [ATTEMPTS, OUTCOMES, FAILURES, CREATED, CLAIMED, CONNECTED];
/** Increases of these would be many series that nobody asks for by themselves: they are part of what is made from them. */
const MEASURED = [LIGHT, LIGHT_SUM];
const LEVELS: readonly Level[] = ["template", "job"];

const HEADER = `# Recording rules over Firstlight's metrics; docs/rules.md says what each means. Made by \`npm run docs\` from test/support/rules.ts.
# They select job="firstlight". Another job or metric prefix (names with firstlight_ have that one always):
#   sed -e 's/job="firstlight"/job="other"/' -e 's/coderd_/other_/g' recording.rules.yml

groups:
  - name: firstlight
    rules:
`;

/** The rule file. All rules are of one group: they are evaluated in order, for the same moment. */
export function recordingRules(windows: readonly Window[] = WINDOWS): string {
  const sections = [
    section(
      "All-time totals, each once however many instances show it: the largest is the one that has seen most.",
      LEVELS.flatMap((level) => [...COUNTED, ...MEASURED].map((total) => totalRule(level, total))),
    ),
    section("The backlog: first builds whose job has not ended.", backlogRules()),
    section(
      "Shares of all that has ever been counted.",
      LEVELS.flatMap((level) => ratioRules(level)),
    ),
    ...windows.map((window) =>
      section(
        `The last ${window.length}.`,
        LEVELS.flatMap((level) => [
          ...COUNTED.map((total) =>
            rule(nameOf(level, total, window), increase(level, total, window)),
          ),
          ...ratioRules(level, window),
          ...quantileRules(level, CONNECTED, nameOf(level, CONNECTED, window), window),
          ...quantileRules(level, LIGHT, increase(level, LIGHT, window), window),
          meanRule(level, window),
        ]),
      ),
    ),
  ];
  return HEADER + sections.join("\n");
}

function section(title: string, rules: readonly string[]): string {
  return `      # ${title}\n${rules.join("")}`;
}

function rule(record: string, expression: string): string {
  const lines = expression.trim().split("\n");
  return `      - record: ${record}\n        expr: |-\n${lines.map((line) => `          ${line}\n`).join("")}`;
}

/** The exposed name of a family of the catalog. */
function exposed(name: string): string {
  const family = CATALOG.find((each) => each.name === name);
  return fullName(must(family, `the catalog has no ${name}`), PREFIX);
}

/**
 * The series that we export, whatever else exports that name. Where they retire, with what those have counted that are not shown: their sum
 * must not fall.
 */
function ours({ family, suffix: part, only }: Exported): string {
  const suffix = part ?? "";
  const matchers = only === undefined ? JOB : `${JOB},${only}`;
  const hidden = CATALOG.find((each) => "hiddenIn" in each && each.hiddenIn?.name === family);
  if (!hidden) return `${exposed(family)}${suffix}{${matchers}}`;
  const names = [family, hidden.name].map((name) => exposed(name) + suffix);
  return `{__name__=~"${names.join("|")}",${matchers}}`;
}

function nameOf(level: Level, { family, suffix }: Total, window?: Window): string {
  const metric = exposed(family) + (suffix ?? "");
  if (window === undefined) return `${level}:${metric}:max`;
  return `${level}:${metric.replace(/_total$/, "")}:increase${window.length}`;
}

function totalRule(level: Level, total: Total): string {
  const { family, place, kept } = total;
  const labels = must(
    CATALOG.find(({ name }) => name === family),
    family,
  ).labels;
  const keep = level === "template" ? [...place, ...kept] : kept;
  const drop = labels.filter((label) => !keep.includes(label));
  return rule(
    nameOf(level, total),
    `max by (${["job", ...keep].join(", ")}) (sum without (${drop.join(", ")}) (${ours(total)}))`,
  );
}

/** How much a total, or those of its recorded series that a selector takes, rose in the window. */
function increase(level: Level, total: Total, window: Window, selector = ""): string {
  const now = nameOf(level, total) + selector;
  const then = `last_over_time(${now}[${window.lookback}] offset ${window.length})`;
  return `clamp_min(${now} - (${then} or (0 * ${now} and on (job) ${then})), 0)`;
}

function ratioRules(level: Level, window?: Window): string[] {
  const outcomes = nameOf(level, OUTCOMES, window);
  const failures = nameOf(level, FAILURES, window);
  const created = nameOf(level, CREATED, window);
  const claimed = `(${nameOf(level, CLAIMED, window)} or 0 * ${created})`;
  const success = `sum without (status) (${outcomes}{status="success"})`;
  const ended = `sum without (status) (${outcomes})`;
  const record = (metric: string): string =>
    `${level}:${PREFIX}${metric}:ratio${window === undefined ? "" : `_increase${window.length}`}`;
  return [
    rule(record("workspace_creation_successes_per_outcomes"), `${success}\n/ (${ended} > 0)`),
    rule(
      record("workspace_creation_successes_per_uncanceled_outcomes"),
      `${success}
/ (sum without (status) (${outcomes}{status=~"success|failure"})
    - sum without (stage, error_code) (${failures}{error_code="user_canceled"}) > 0)`,
    ),
    rule(
      record("workspace_creation_failures_per_outcomes"),
      `sum without (error_code) (${failures})\n/ ignoring (stage) group_left () (${ended} > 0)`,
    ),
    rule(
      record("prebuilt_workspaces_claimed_per_given"),
      `${claimed}\n/ (${claimed} + ${created} > 0)`,
    ),
  ];
}

function quantileRules(level: Level, of: Total, buckets: string, window: Window): string[] {
  // Of no observations there is no quantile: NaN, which no comparison lets through.
  return [50, 95].map((percent) =>
    rule(
      `${level}:${exposed(of.family)}:p${percent}_increase${window.length}`,
      `histogram_quantile(${percent / 100}, ${buckets}) >= 0`,
    ),
  );
}

/** Each phase is observed as often as the total, so that one count does for all. */
function meanRule(level: Level, window: Window): string {
  return rule(
    `${level}:${exposed(LIGHT_SUM.family)}:mean_increase${window.length}`,
    `${increase(level, LIGHT_SUM, window)}
/ ignoring (phase, le) group_left () (${increase(level, LIGHT, window, '{le="+Inf"}')} > 0)`,
  );
}

/**
 * What is in flight comes from totals: those of the instance that has seen most are the largest, while its gauge may be
 * larger or smaller than that of one that lags.
 */
function backlogRules(): string[] {
  const inFlight = exposed("workspace_creations_in_flight");
  const timestamp = { family: "workspace_creation_oldest_in_flight_timestamp_seconds" };
  const oldest = exposed(timestamp.family);
  const age = oldest.replace("timestamp", "age");
  const preset = ["job", ...PRESET].join(", ");
  return [
    rule(
      `preset:${inFlight}:sum`,
      `max by (${preset}) (${ours(ATTEMPTS)})
- sum without (status) (max by (${preset}, status) (${ours(OUTCOMES)}))`,
    ),
    rule(
      `preset:${oldest}:max`,
      `max by (${preset}) (${ours(timestamp)})
and preset:${inFlight}:sum > 0`,
    ),
    rule(`template:${inFlight}:sum`, `sum without (preset_name) (preset:${inFlight}:sum)`),
    rule(`template:${age}:max`, `time() - min without (preset_name) (preset:${oldest}:max)`),
    rule(`job:${inFlight}:sum`, `sum without (${PRESET.join(", ")}) (preset:${inFlight}:sum)`),
    rule(`job:${age}:max`, `time() - min without (${PRESET.join(", ")}) (preset:${oldest}:max)`),
  ];
}
