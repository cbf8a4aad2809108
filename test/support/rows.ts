// Rows, names and facts as values, for tests of the pure core: whatever matters to a test is an argument.

import { SECOND, parseTimestamptz } from "../../src/change/micros.ts";
import type { AgentRow, BuildRow, JobRow, Uuid } from "../../src/change/row.ts";
import type {
  AgentNames,
  Attempted,
  BuildNames,
  BuildTraits,
  Connected,
  Created,
  Deleted,
  Ended,
  Light,
  Names,
  Overdue,
  Ran,
  Ready,
  Started,
  Workspace,
} from "../../src/derive/fact.ts";
import type { BuildTimes } from "../../src/derive/light.ts";
import type { BuildEvent } from "../../src/derive/step.ts";
import type {
  LiveWorkspace,
  PendingAgent,
  PendingBuild,
  PendingStart,
  RunningJob,
} from "../../src/derive/state.ts";
import { type Lsn, toLsn } from "../../src/lsn.ts";

/** The time of the first row. */
export const START = parseTimestamptz("2026-08-21 10:00:00.123456+00");

/** So many seconds after the first row. */
export const after = (seconds: number): number => START + Math.round(seconds * SECOND);

export const uuid = (n: number): Uuid =>
  `00000000-0000-4000-8000-${n.toString(16).padStart(12, "0")}`;

export const END: Lsn = toLsn(0x16_b374d848n);

export const BUILDABLE: Names = { organization: "acme", template: "docker", preset: "large" };
export const NAMES: BuildNames = { ...BUILDABLE, version: "v7" };
export const AGENT_NAMES: AgentNames = {
  ...BUILDABLE,
  agent: "main",
  username: "alice",
  workspace: "dev",
};

/** Of a first build. */
export const TRAITS: BuildTraits = {
  transition: "start",
  reason: "initiator",
  provisioner: "terraform",
  initial: true,
  prebuild: false,
  claimed: null,
};

/** How the build of the rows here got on: taken after 5 s, completed after 30 s. */
export const TIMES: BuildTimes = {
  workspace: uuid(2),
  job: uuid(3),
  transition: "start",
  createdAt: START,
  startedAt: after(5),
  completedAt: after(30),
};

/** Of an agent of that build, where it was a first build. */
export const LIGHT: Light = {
  traits: TRAITS,
  queued: 5 * SECOND,
  provisioned: 25 * SECOND,
  completedAt: after(30),
};

/** Of the rows here. */
export const WORKSPACE: Workspace = { id: uuid(2), owner: "alice", name: "dev" };

export const IMPORT = { type: "template_version_import", provisioner: "terraform" };

type Common = Pick<Started, "id" | "at" | "took">;

const ALICE = uuid(0xa11ce);

export function buildRow(given: Partial<BuildRow> = {}): BuildRow {
  return {
    kind: "build",
    id: uuid(1),
    workspace: uuid(2),
    job: uuid(3),
    version: uuid(4),
    number: 1,
    transition: "start",
    initiator: ALICE,
    reason: "initiator",
    preset: null,
    createdAt: START,
    ...given,
  };
}

/** A build with what was looked up: a first build, unless told. */
export function buildEvent(
  row: Partial<BuildRow> = {},
  given: Partial<Omit<BuildEvent, "row">> = {},
): BuildEvent {
  return {
    row: buildRow(row),
    end: END,
    names: NAMES,
    workspace: WORKSPACE.name,
    owner: WORKSPACE.owner,
    deleted: false,
    fromTables: false,
    provisioner: "terraform",
    claimed: null,
    ...given,
  };
}

/** Pending, unless told. */
export function jobRow(given: Partial<JobRow> = {}): JobRow {
  return {
    kind: "job",
    id: uuid(3),
    type: "workspace_build",
    provisioner: "terraform",
    initiator: ALICE,
    worker: null,
    createdAt: START,
    startedAt: null,
    canceledAt: null,
    completedAt: null,
    failed: false,
    errorCode: null,
    ...given,
  };
}

/** Just inserted and not connected, unless told. */
export function agentRow(given: Partial<AgentRow> = {}): AgentRow {
  return {
    kind: "agent",
    isNew: true,
    id: uuid(5),
    resource: uuid(6),
    parent: null,
    name: "main",
    createdAt: START,
    firstConnectedAt: null,
    lifecycle: "created",
    readyAt: null,
    deleted: false,
    ...given,
  };
}

export function attempted(given: Partial<Attempted> = {}): Attempted {
  return {
    kind: "attempted",
    id: uuid(1),
    at: START,
    end: END,
    names: NAMES,
    traits: TRAITS,
    workspace: WORKSPACE,
    number: 1,
    ...given,
  };
}

/** What its workspace was created by: a first build, unless told. */
export function created(given: Partial<Created> = {}): Created {
  return { ...attempted(), kind: "created", id: WORKSPACE.id, at: after(30), ...given };
}

/** What its workspace was deleted by: its second build, unless told. */
export function deleted(given: Partial<Deleted> = {}): Deleted {
  const traits = { ...TRAITS, transition: "delete", initial: false };
  const build = { ...attempted(), id: WORKSPACE.id, traits, number: 2 };
  return { ...build, kind: "deleted", at: after(90), ...given };
}

/** A success, unless told. */
export function ended(given: Partial<Ended> = {}): Ended {
  const ending = { status: "success", stage: "", errorCode: "" } as const;
  const known = { names: NAMES, traits: TRAITS, workspace: WORKSPACE, number: 1, took: null };
  return { kind: "ended", id: uuid(3), at: after(30), end: END, ...known, ...ending, ...given };
}

export function connected(given: Partial<Connected> = {}): Connected {
  const took = Math.round(41.2 * SECOND);
  return {
    kind: "connected",
    id: uuid(5),
    at: START + took,
    end: END,
    took,
    names: AGENT_NAMES,
    workspace: null,
    light: null,
    ...given,
  };
}

/** An agent had 120 s to connect, unless told. */
export function overdue(given: Partial<Overdue> = {}): Overdue {
  const took = 120 * SECOND;
  const id = uuid(5);
  return { kind: "overdue", id, at: START + took, end: END, took, names: AGENT_NAMES, ...given };
}

export function pendingBuild(given: Partial<PendingBuild> = {}): PendingBuild {
  return {
    kind: "build",
    id: uuid(3),
    createdAt: START,
    names: NAMES,
    traits: TRAITS,
    workspace: WORKSPACE,
    number: 1,
    ...given,
  };
}

/** A worker took the job of a first build after 2 s, unless told. */
export function started(given: Partial<Common> = {}): Started {
  const took = 2 * SECOND;
  const build = { names: NAMES, traits: TRAITS, workspace: WORKSPACE, number: 1 };
  return { kind: "started", id: uuid(3), at: START + took, end: END, took, ...build, ...given };
}

/** A worker took an import. */
export function importStarted(given: Partial<Common> = {}): Started {
  const took = 2 * SECOND;
  return { kind: "started", id: uuid(21), at: START + took, end: END, took, ...IMPORT, ...given };
}

/** An import was a success, unless told. */
export function ran(given: Partial<Ran> = {}): Ran {
  const ending = { status: "success", stage: "", errorCode: "" } as const;
  const took = 28 * SECOND;
  return {
    kind: "ran",
    id: uuid(21),
    at: after(30),
    end: END,
    took,
    ...IMPORT,
    ...ending,
    ...given,
  };
}

/** The job of the first build, unless told. */
export function runningJob(given: Partial<RunningJob> = {}): RunningJob {
  const job = { type: "workspace_build", provisioner: "terraform" };
  return { kind: "job", id: uuid(3), createdAt: START, ...job, ...given };
}

/** All agents of a first build were ready after 90 s, unless told. */
export function ready(given: Partial<Ready> = {}): Ready {
  const build = { names: NAMES, traits: TRAITS, workspace: WORKSPACE, number: 1 };
  const took = 90 * SECOND;
  const over = { at: START + took, took, status: "success" } as const;
  return { kind: "ready", id: uuid(3), end: END, ...over, ...build, ...given };
}

/** The start of a first build, with one agent that has not begun, unless told. */
export function pendingStart(given: Partial<PendingStart> = {}): PendingStart {
  return {
    kind: "start",
    id: uuid(3),
    createdAt: START,
    names: NAMES,
    traits: TRAITS,
    workspace: WORKSPACE,
    number: 1,
    agents: [{ id: uuid(5), start: null }],
    ...given,
  };
}

export function pendingAgent(given: Partial<PendingAgent> = {}): PendingAgent {
  return {
    kind: "agent",
    id: uuid(5),
    createdAt: START,
    names: AGENT_NAMES,
    workspace: null,
    light: null,
    timeout: null,
    due: null,
    ...given,
  };
}

/** There, with a first build that is pending, unless told. */
export function liveWorkspace(given: Partial<LiveWorkspace> = {}): LiveWorkspace {
  return {
    kind: "workspace",
    id: WORKSPACE.id,
    createdAt: START,
    number: 1,
    job: uuid(3),
    status: "pending",
    endedAt: null,
    agents: 0,
    deleted: [],
    names: NAMES,
    traits: TRAITS,
    workspace: WORKSPACE,
    whole: true,
    ...given,
  };
}
