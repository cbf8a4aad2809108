// How an agent's start is told: by its lifecycle state, and `ready_at`, which Coder sets with each of the states that end a start
// and takes back when one begins (coderd/agentapi/lifecycle.go).

import type { Micros } from "./micros.ts";
import type { AgentRow } from "./row.ts";

/** How the start of a build ended: of its agents, the worst. */
export const START_STATUSES = ["success", "timeout", "error"] as const;
export type StartStatus = (typeof START_STATUSES)[number];

/** A lifecycle state that, with `ready_at`, ends a start. */
export type OverWord = "ready" | "start_timeout" | "start_error";

/** Where a row says how its agent's start goes, read only of agents that wait. */
export interface StartCells {
  /** It begins. */
  readonly begins: boolean;
  /** Where the lifecycle state stands in the message; of sub-agents, and without `ready_at`, of no length. */
  readonly state: number;
  readonly stateLength: number;
  readonly ready: number;
  readonly readyLength: number;
}

/** As an enum's label is sent, in text and in binary form alike. */
const OVER = (["ready", "start_timeout", "start_error"] as const).map(
  (state) => [state, Buffer.from(state, "latin1")] as const,
);

/** The state that ends a start; null: another one. */
export function overWordOf(
  bytes: Buffer,
  { state, stateLength }: Pick<StartCells, "state" | "stateLength">,
): OverWord | null {
  for (const [word, label] of OVER)
    if (label.length === stateLength && label.compare(bytes, state, state + stateLength) === 0)
      return word;
  return null;
}

const STATUS: Readonly<Record<string, StartStatus>> = {
  ready: "success",
  start_timeout: "timeout",
  start_error: "error",
};
/** What follows on a start, however it ended: `ready_at` stays. */
const AFTERWARDS: ReadonlySet<string> = new Set([
  "shutting_down",
  "shutdown_timeout",
  "shutdown_error",
  "off",
]);

/** How an agent's start ended. `status`: null where the row no longer tells, because it has shut down since. */
export interface AgentStart {
  /** By the agent's own clock. */
  readonly at: Micros;
  readonly status: StartStatus | null;
}

/** Null while it has not ended: also in states that this version does not know. */
export function startOf({
  lifecycle,
  readyAt,
}: Pick<AgentRow, "lifecycle" | "readyAt">): AgentStart | null {
  if (readyAt === null) return null;
  const status = STATUS[lifecycle] ?? null;
  return status === null && !AFTERWARDS.has(lifecycle) ? null : { at: readyAt, status };
}

type Telling = Pick<AgentRow, "parent" | "firstConnectedAt" | "lifecycle" | "readyAt">;

/** Whether an agent's start begins. Sub-agents come and go while their build runs. */
export function begins({ parent, firstConnectedAt, lifecycle, readyAt }: Telling): boolean {
  return (
    parent === null && firstConnectedAt !== null && lifecycle === "starting" && readyAt === null
  );
}

/** Whether an agent's row says something of the start of its build. */
export function tellsOfStart(row: Telling): boolean {
  return row.parent === null && (begins(row) || startOf(row) !== null);
}
