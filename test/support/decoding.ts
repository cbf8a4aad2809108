// A decoder with its surroundings, and Coder's rows as cells to feed it.

import { newCounts } from "../../src/change/counts.ts";
import { SECOND, formatTimestamptz, parseTimestamptz } from "../../src/change/micros.ts";
import type { Row, Tx } from "../../src/change/row.ts";
import { Waiting } from "../../src/change/waiting.ts";
import { Decoder } from "../../src/postgres/decode.ts";
import { PUBLISHED_COLUMNS } from "../../src/postgres/publication.ts";
import { type Columns, Relation, begin, commit } from "./pgoutput.ts";

export const NOW = parseTimestamptz("2026-08-21 10:00:00.123456+00");
export const at = (seconds: number): string => formatTimestamptz(NOW + seconds * SECOND);
export const id = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;

export const BUILDS = new Relation(1, "workspace_builds", PUBLISHED_COLUMNS.workspace_builds);
export const JOBS = new Relation(2, "provisioner_jobs", PUBLISHED_COLUMNS.provisioner_jobs);
export const AGENTS = new Relation(3, "workspace_agents", PUBLISHED_COLUMNS.workspace_agents);

export const BUILD = {
  id: id(1),
  created_at: at(0),
  workspace_id: id(2),
  template_version_id: id(3),
  build_number: "1",
  transition: "start",
  initiator_id: id(4),
  job_id: id(5),
  reason: "initiator",
} satisfies Columns;
export const JOB = {
  id: id(5),
  created_at: at(0),
  updated_at: at(0),
  type: "workspace_build",
  provisioner: "terraform",
  initiator_id: id(4),
} satisfies Columns;
export const DONE = { ...JOB, started_at: at(1), completed_at: at(30), worker_id: id(6) };
export const AGENT = {
  id: id(7),
  created_at: at(30),
  name: "main",
  resource_id: id(8),
  lifecycle_state: "created",
  deleted: "f",
} satisfies Columns;
export const CONNECTED = { ...AGENT, first_connected_at: at(71.2), last_connected_at: at(71.2) };

export interface Decoding {
  readonly decoder: Decoder;
  readonly waiting: Waiting;
  readonly counts: ReturnType<typeof newCounts>;
  /** Enum values that were not known, as `column value`. */
  readonly unknown: readonly string[];
  /** What each message leads to. */
  readonly feed: (...messages: readonly Buffer[]) => readonly (Tx | null)[];
  /** News of one transaction that holds these messages, at `NOW` plus some seconds. */
  readonly rows: (messages: readonly Buffer[], seconds?: number) => readonly Row[];
}

/** A decoder that was told of these relations. */
export function decoding(relations: readonly Relation[] = [BUILDS, JOBS, AGENTS]): Decoding {
  const waiting = new Waiting();
  const counts = newCounts();
  const unknown: string[] = [];
  const decoder = new Decoder({
    waiting,
    counts,
    onUnknown: (column, value) => unknown.push(`${column} ${value}`),
  });
  let end = 100n;
  const feed: Decoding["feed"] = (...messages) =>
    messages.map((message) => decoder.decode(message));
  const rows: Decoding["rows"] = (messages, seconds = 31) => {
    const txAt = NOW + seconds * SECOND;
    const txs = feed(begin({ at: txAt }), ...messages, commit((end += 100n), txAt));
    return txs.flatMap((tx) => tx?.rows ?? []);
  };
  feed(...relations.map((relation) => relation.describe()));
  return { decoder, waiting, counts, unknown, feed, rows };
}
