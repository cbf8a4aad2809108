// `doctor --estimate`: what following this database would take, before anything is installed. All of it is an estimate, from the
// server's statistics and a moment of its WAL.

import type { Config } from "../../config.ts";
import { createCatalog } from "../../metrics/catalog.ts";
import { fullName } from "../../metrics/family.ts";
import { bytesText, spanText } from "../../postgres/doctor/diagnosis.ts";
import {
  type Pace,
  type Polling,
  type Rows,
  deletedShare,
  paceOf,
  pollingOf,
  rowsOfTables,
} from "../../postgres/doctor/sizes.ts";
import type { Session } from "../../postgres/session.ts";
import { type Deployment, seriesOf } from "./series.ts";

/** WAL of a heartbeat beyond what it takes at `replica`, measured with Coder's tables: 666 bytes where it was 272. */
const LOGICAL_BYTES = 394;
/** Processor time that a baseline takes, here and on the server, for each build and each agent: 12 s for 150,000. */
const ROW_SECONDS = 80e-6;
const DAY = 86_400;

export interface Estimate {
  readonly series: readonly { readonly family: string; readonly series: number }[];
  readonly totalSeries: number;
  /** Of builds and agents; null: there are no such tables. */
  readonly baseline: { readonly rows: number; readonly seconds: number } | null;
  readonly wal: Pace & { readonly bytesPerDay: number };
  readonly polling: Polling;
}

type Shown = Pick<Config, "agentLabels" | "families" | "metricPrefix">;

export interface Measured {
  readonly rows: Rows;
  readonly deleted: number | null;
  readonly pace: Pace;
  readonly polling: Polling;
}

export async function measure(
  session: Session,
  options: { readonly measureMs: number; readonly signal: AbortSignal },
): Promise<Measured> {
  return {
    rows: await rowsOfTables(session),
    deleted: await deletedShare(session),
    pace: await paceOf(session, options),
    polling: await pollingOf(session),
  };
}

/** Pure. */
export function estimate({ rows, deleted, pace, polling }: Measured, config: Shown): Estimate {
  const deployment = deploymentOf(rows, deleted);
  const series = createCatalog(config).flatMap((family) => {
    const n = seriesOf(family, deployment);
    return n === null ? [] : [{ family: fullName(family, config.metricPrefix), series: n }];
  });
  const { workspace_builds: builds, workspace_agents: agents } = rows;
  const read = builds === null || agents === null ? null : builds + agents;
  const more = pace.walLevel === "logical" ? 0 : pace.updates * LOGICAL_BYTES;
  return {
    series,
    totalSeries: series.reduce((sum, each) => sum + each.series, 0),
    baseline: read === null ? null : { rows: read, seconds: read * ROW_SECONDS },
    wal: { ...pace, bytesPerDay: (pace.wal + more) * DAY },
    polling,
  };
}

/** Presets have a row for each version of their template, and series for each name. */
function deploymentOf(rows: Rows, deleted: number | null): Deployment {
  const templates = rows.templates ?? 0;
  const versions = rows.template_versions ?? 0;
  const perVersion = versions === 0 ? 0 : (rows.template_version_presets ?? 0) / versions;
  return {
    templates,
    versions,
    presets: Math.ceil(templates * perVersion),
    workspaces: (rows.workspaces ?? 0) * (1 - (deleted ?? 0)),
  };
}

const count = (n: number): string => Math.round(n).toLocaleString("en-US");

export function estimateText({ series, totalSeries, baseline, wal, polling }: Estimate): string {
  const lines = [
    "An estimate, from the server's statistics and a moment of its WAL.",
    "",
    `series: about ${count(totalSeries)}`,
    ...series.map(({ family, series: n }) => `  ${count(n).padStart(10)}  ${family}`),
    "",
    baseline === null
      ? "baseline: not known, the tables of Coder are not here"
      : `baseline: about ${count(baseline.rows)} builds and agents, ${spanText(baseline.seconds)} of processor time, once`,
    walText(wal),
    pollingText(polling),
  ];
  return `${lines.join("\n")}\n`;
}

function walText({ walLevel, wal, updates, seconds, bytesPerDay }: Estimate["wal"]): string {
  const now = `measured for ${seconds.toFixed(0)} s: ${bytesText(wal)} a second, ${updates.toFixed(1)} updates of the published tables a second`;
  const day = `WAL of the server at wal_level = logical: about ${bytesText(bytesPerDay)} a day (${now})`;
  const held = `a slot that nobody reads holds back all of it, ${bytesText(bytesPerDay / 24)} an hour`;
  const more =
    walLevel === "logical"
      ? ""
      : `; at ${walLevel}, as now, it is ${bytesText(wal * DAY)}, and each update adds ${LOGICAL_BYTES} bytes or so`;
  return `${day}${more}\n${held}`;
}

function pollingText(polling: Polling): string {
  if (polling.kind === "unknown") return `what polling costs today: not known, ${polling.why}`;
  const { calls, seconds } = polling;
  return `what polling costs today: ${count(calls)} queries of coderd's collectors, as far as they can be told, took ${seconds.toFixed(1)} s of the database since its statistics were reset, ${((seconds / calls) * 1_000).toFixed(0)} ms each`;
}
