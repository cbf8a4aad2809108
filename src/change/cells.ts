// From named cells to rows: shared by the stream and the tables, so that both read a value alike.

import { type Micros, parseTimestamptz } from "./micros.ts";
import { type AgentRow, type BuildRow, type JobRow, TRANSITIONS, type Table } from "./row.ts";

/**
 * A column's value in Postgres' text form, a time that came in binary form, NULL, or "not sent because unchanged" (TOAST),
 * which is not NULL.
 */
export type Cell = string | Micros | null | typeof UNCHANGED;
export const UNCHANGED = Symbol("unchanged TOAST");

const UUID_LENGTH = 36;

/** Reads a column of the row at hand. Throws when the row has no such column. */
export type Cells = (column: string) => Cell;

/** Every column that makes a row below. The published lists hold these and more, for metrics to come. */
export const ROW_COLUMNS: Readonly<Record<Table, readonly string[]>> = {
  workspace_builds: [
    "id",
    "created_at",
    "workspace_id",
    "template_version_id",
    "build_number",
    "transition",
    "initiator_id",
    "job_id",
    "reason",
    "template_version_preset_id",
  ],
  provisioner_jobs: [
    "id",
    "created_at",
    "started_at",
    "canceled_at",
    "completed_at",
    "error",
    "error_code",
    "type",
    "provisioner",
    "initiator_id",
    "worker_id",
  ],
  workspace_agents: [
    "id",
    "created_at",
    "name",
    "first_connected_at",
    "resource_id",
    "parent_id",
    "lifecycle_state",
    "ready_at",
    "deleted",
  ],
};

/** Told of enum values that this version does not know. */
export type OnUnknown = (column: string, value: string) => void;

const KNOWN_TRANSITIONS: ReadonlySet<string> = new Set(TRANSITIONS);
/** Why a build was made, as of today: upstream keeps adding to them. */
export const REASONS: ReadonlySet<string> = new Set([
  "initiator",
  "autostart",
  "autostop",
  "dormancy",
  "failedstop",
  "autodelete",
  "dashboard",
  "cli",
  "ssh_connection",
  "vscode_connection",
  "jetbrains_connection",
  "task_auto_pause",
  "task_manual_pause",
  "task_resume",
]);
const JOB_TYPES: ReadonlySet<string> = new Set([
  "template_version_import",
  "workspace_build",
  "template_version_dry_run",
]);

export function buildRow(cells: Cells, onUnknown: OnUnknown): BuildRow {
  const transition = text(cells, "transition");
  if (!KNOWN_TRANSITIONS.has(transition)) onUnknown("workspace_builds.transition", transition);
  const reason = text(cells, "reason");
  if (!REASONS.has(reason)) onUnknown("workspace_builds.reason", reason);
  return {
    kind: "build",
    id: uuid(cells, "id"),
    workspace: uuid(cells, "workspace_id"),
    job: uuid(cells, "job_id"),
    version: uuid(cells, "template_version_id"),
    number: integer(cells, "build_number"),
    transition,
    initiator: uuid(cells, "initiator_id"),
    reason,
    preset: nullable(cells, "template_version_preset_id", uuid),
    createdAt: time(cells, "created_at"),
  };
}

export function jobRow(cells: Cells, onUnknown: OnUnknown): JobRow {
  const error = cells("error");
  const type = text(cells, "type");
  if (!JOB_TYPES.has(type)) onUnknown("provisioner_jobs.type", type);
  return {
    kind: "job",
    id: uuid(cells, "id"),
    type,
    provisioner: text(cells, "provisioner"),
    initiator: uuid(cells, "initiator_id"),
    worker: nullable(cells, "worker_id", uuid),
    createdAt: time(cells, "created_at"),
    startedAt: nullable(cells, "started_at", time),
    canceledAt: nullable(cells, "canceled_at", time),
    completedAt: nullable(cells, "completed_at", time),
    // Unchanged TOAST is a long text, so not empty. The text itself may quote secrets and is never decoded further.
    failed: error === UNCHANGED || (error !== null && error !== ""),
    errorCode: nullable(cells, "error_code", text),
  };
}

export function agentRow(cells: Cells, isNew: boolean): AgentRow {
  return {
    kind: "agent",
    isNew,
    id: uuid(cells, "id"),
    resource: uuid(cells, "resource_id"),
    parent: nullable(cells, "parent_id", uuid),
    name: text(cells, "name"),
    createdAt: time(cells, "created_at"),
    firstConnectedAt: nullable(cells, "first_connected_at", time),
    lifecycle: text(cells, "lifecycle_state"),
    readyAt: nullable(cells, "ready_at", time),
    deleted: text(cells, "deleted") === "t",
  };
}

function text(cells: Cells, column: string): string {
  const cell = cells(column);
  if (typeof cell !== "string")
    throw new TypeError(
      `column ${column} is ${cell === null ? "NULL" : typeof cell === "number" ? "a time" : "missing"}`,
    );
  return cell;
}

/** Reads a column by `read`, or NULL. */
function nullable<T>(
  cells: Cells,
  column: string,
  read: (cells: Cells, column: string) => T,
): T | null {
  return cells(column) === null ? null : read(cells, column);
}

/** A time that is never NULL. Throws where it is. */
export function time(cells: Cells, column: string): Micros {
  const cell = cells(column);
  return typeof cell === "number" ? cell : parseTimestamptz(text(cells, column));
}

// A type of the database's own over one of these comes in a form that is not that of text: to be refused, not to be counted.

/** An id as Postgres prints it. */
export function uuid(cells: Cells, column: string): string {
  const id = text(cells, column);
  if (id.length !== UUID_LENGTH) throw new TypeError(`column ${column} is not a uuid`);
  return id;
}

function integer(cells: Cells, column: string): number {
  const number = Number(text(cells, column));
  if (!Number.isInteger(number)) throw new TypeError(`column ${column} is not a whole number`);
  return number;
}
