// How facts, entities and names look in SQLite: small integers for kinds, 16 bytes for ids, JSON arrays for names.

import { must } from "../errors.ts";
import type {
  AgentNames,
  BuildNames,
  BuildTraits,
  Ending,
  Fact,
  FactKind,
  Light,
  Names,
  OfBuild,
  OfJob,
  SeenReady,
  Workspace,
} from "../derive/fact.ts";
import type {
  Entity,
  EntityKind,
  JobStatus,
  LiveWorkspace,
  PendingStart,
  StartingAgent,
} from "../derive/state.ts";
import type { Micros } from "../change/micros.ts";
import type { Uuid } from "../change/row.ts";
import type { StartStatus } from "../change/start.ts";
import { toLsn } from "../lsn.ts";

export const FACT_KINDS: Readonly<Record<FactKind, number>> = {
  attempted: 1,
  ended: 2,
  connected: 3,
  offered: 4,
  created: 5,
  deleted: 6,
  started: 7,
  ran: 8,
  ready: 9,
  overdue: 10,
};
export const ENTITY_KINDS: Readonly<Record<EntityKind, number>> = {
  build: 1,
  agent: 2,
  workspace: 3,
  job: 4,
  start: 5,
};

const FACT_NAMES = Object.entries(FACT_KINDS).map(
  ([name, kind]) => [kind, name as FactKind] as const,
);

/** The fact kind of a stored number. Throws on one that this version never wrote. */
export function factKind(kind: unknown): FactKind {
  return must(
    FACT_NAMES.find(([number]) => number === kind)?.[1],
    `unknown fact kind ${String(kind)} in the store`,
  );
}

const HYPHEN = 45;

/** Digit by digit: twice as fast as cutting out the hyphens first, and done for every row of a baseline. */
export function idToBytes(id: Uuid): Uint8Array {
  const bytes = new Uint8Array(16);
  let digits = 0;
  for (let i = 0; i < id.length; i += 1) {
    const code = id.charCodeAt(i);
    if (code === HYPHEN) continue;
    // 0-9, a-f and A-F by their ASCII codes.
    const digit = (code & 15) + (code >> 6) * 9;
    bytes[digits >> 1] = ((bytes[digits >> 1] ?? 0) << 4) | digit;
    digits += 1;
  }
  return bytes;
}

export function bytesToId(bytes: unknown): Uuid {
  const hex = Buffer.from(bytes as Uint8Array).toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

export function encodeNames(names: Names | BuildNames | AgentNames): string {
  const { organization, template, preset } = names;
  const more =
    "agent" in names
      ? [names.agent, names.username, names.workspace]
      : "version" in names
        ? [names.version]
        : [];
  return JSON.stringify([organization, template, preset, ...more]);
}

export function decodeNames(json: string): Names {
  const [organization = "", template = "", preset = ""] = JSON.parse(json) as string[];
  return { organization, template, preset };
}

export function decodeBuildNames(json: string): BuildNames {
  const [organization = "", template = "", preset = "", version = ""] = JSON.parse(
    json,
  ) as string[];
  return { organization, template, preset, version };
}

export function encodeWorkspace({ id, owner, name }: Workspace): string {
  return JSON.stringify([id, owner, name]);
}

/** The id alone, of what `encodeWorkspace` wrote: asked for every agent that the tables tell of. */
export function workspaceId(json: string): Uuid {
  return json.slice(2, 38);
}

function decodeWorkspace(json: string | null): Workspace | null {
  if (json === null) return null;
  const [id, owner, name] = JSON.parse(json) as [Uuid, string, string];
  return { id, owner, name };
}

export function decodeAgentNames(json: string): AgentNames {
  const [organization = "", template = "", preset = "", agent = "", username = "", workspace = ""] =
    JSON.parse(json) as string[];
  return { organization, template, preset, agent, username, workspace };
}

export function encodeTraits(traits: BuildTraits): string {
  const { transition, reason, provisioner, initial, prebuild, claimed } = traits;
  return JSON.stringify([transition, reason, provisioner, initial, prebuild, claimed]);
}

/** Null: written when first builds alone were counted, and no baseline has filled it in. */
export function decodeTraits(json: string | null): BuildTraits {
  if (json === null) return FIRST_BUILD;
  const [transition, reason, provisioner, initial, prebuild, claimed] = JSON.parse(json) as [
    string,
    string,
    string,
    boolean,
    boolean,
    string | null,
  ];
  return { transition, reason, provisioner, initial, prebuild, claimed };
}

/** Coder makes the first builds of people with this reason always. */
const FIRST_BUILD: BuildTraits = {
  transition: "start",
  reason: "initiator",
  provisioner: "",
  initial: true,
  prebuild: false,
  claimed: null,
};

/** In the place of traits. */
export function encodeJob({ type, provisioner }: OfJob): string {
  return JSON.stringify([type, provisioner]);
}

/** Null where these are the traits of a build. */
export function decodeJob(json: string | null): OfJob | null {
  if (json === null) return null;
  const [type = "", provisioner = "", ...more] = JSON.parse(json) as string[];
  return more.length > 0 ? null : { type, provisioner };
}

export function encodeEnding(ending: Ending): string {
  return JSON.stringify([ending.status, ending.stage, ending.errorCode]);
}

/** In the place of an ending. */
export function encodeStartStatus(status: StartStatus): string {
  return JSON.stringify([status, "", ""]);
}

/** How the job, or the start, of a fact or of what is seen of one ended; null where it has no end, or does not tell. */
export function endingOf(of: Fact | SeenReady): string | null {
  if (of.kind === "ready") return of.status === undefined ? null : encodeStartStatus(of.status);
  return "status" in of ? encodeEnding(of) : null;
}

export function decodeEnding(json: string): Ending {
  const [status, stage, errorCode] = JSON.parse(json) as [
    Ending["status"],
    Ending["stage"],
    string,
  ];
  return { status, stage, errorCode };
}

function decodeStartStatus(json: string): StartStatus {
  return (JSON.parse(json) as [StartStatus])[0];
}

/** What rows about a build have. */
interface OfBuildRecord {
  readonly names: string;
  readonly traits: string | null;
  readonly workspace: string | null;
  readonly number: number | null;
}

/** What rows about an agent have. */
interface OfAgentRecord extends Pick<OfBuildRecord, "traits" | "workspace"> {
  readonly queued: number | null;
  readonly provisioned: number | null;
  readonly completed: number | null;
}

/** A ledger row as the statements of this store select it. */
export interface FactRecord extends OfBuildRecord, OfAgentRecord {
  readonly kind: number;
  readonly id: Uint8Array;
  readonly at: number;
  readonly end_lsn: number;
  readonly took: number | null;
  readonly ending: string | null;
}

function decodeOfBuild({ names, traits, workspace, number }: OfBuildRecord): OfBuild {
  return {
    names: decodeBuildNames(names),
    traits: decodeTraits(traits),
    workspace: decodeWorkspace(workspace),
    number: number ?? 0,
  };
}

function decodeLight({ traits, queued, provisioned, completed }: OfAgentRecord): Light | null {
  if (completed === null) return null;
  return {
    traits: decodeTraits(traits),
    queued: must(queued, "an agent without its wait in the queue"),
    provisioned: must(provisioned, "an agent without its provisioning"),
    completedAt: completed,
  };
}

export function decodeFact(record: FactRecord): Fact {
  const common = { id: bytesToId(record.id), at: record.at, end: toLsn(BigInt(record.end_lsn)) };
  const kind = factKind(record.kind);
  switch (kind) {
    case "attempted":
    case "created":
    case "deleted":
      return { kind, ...common, ...decodeOfBuild(record) };
    case "offered":
      return { kind, ...common, names: decodeNames(record.names) };
    case "ended":
      return {
        kind,
        ...common,
        ...decodeOfBuild(record),
        took: record.took,
        ...decodeEnding(must(record.ending, "an ended fact without its ending")),
      };
    case "started":
      return {
        kind,
        ...common,
        took: must(record.took, "a started fact without its duration"),
        ...(decodeJob(record.traits) ?? decodeOfBuild(record)),
      };
    case "ran":
      return {
        kind,
        ...common,
        took: must(record.took, "a fact of a job that ran without its duration"),
        ...must(decodeJob(record.traits), "a fact of a job without its type"),
        ...decodeEnding(must(record.ending, "a fact of a job that ran without its ending")),
      };
    case "ready":
      return {
        kind,
        ...common,
        ...decodeOfBuild(record),
        took: must(record.took, "a ready fact without its duration"),
        status: decodeStartStatus(must(record.ending, "a ready fact without its status")),
      };
    case "connected":
      return {
        kind,
        ...common,
        names: decodeAgentNames(record.names),
        took: must(record.took, "a connected fact without its duration"),
        workspace: decodeWorkspace(record.workspace),
        light: decodeLight(record),
      };
    case "overdue":
      return {
        kind,
        ...common,
        names: decodeAgentNames(record.names),
        took: must(record.took, "an overdue fact without its timeout"),
      };
  }
}

/** The duration that a fact has, if its kind has one and it is known. */
export function tookOf(fact: Fact | SeenReady): Micros | null {
  return "took" in fact ? fact.took : null;
}

/** The part of a ledger row that may turn out to be another in the tables. */
export type FinalRecord = Pick<FactRecord, "at" | "took" | "ending" | "number">;

/** The fields of a fact that a sighting has, too. */
export function decodeFinal({ at, took, ending, number }: FinalRecord): {
  readonly at: Micros;
  readonly took?: Micros | null;
  readonly number?: number | null;
} & Partial<Ending> {
  return { at, took, number, ...(ending === null ? {} : decodeEnding(ending)) };
}

export interface EntityRecord extends OfBuildRecord, OfAgentRecord {
  readonly id: Uint8Array;
  readonly created_at: number;
  readonly timeout: number | null;
  readonly due: number | null;
  readonly live: string | null;
}

/** What a workspace has beside its latest build. */
export function encodeLive({
  job,
  status,
  endedAt,
  whole,
  agents,
  deleted,
}: LiveWorkspace): string {
  return JSON.stringify([job, status, endedAt, whole, agents, deleted]);
}

function decodeLive(
  json: string,
): Pick<LiveWorkspace, "job" | "status" | "endedAt" | "whole" | "agents" | "deleted"> {
  const [job, status, endedAt, whole, agents, deleted] = JSON.parse(json) as [
    Uuid,
    JobStatus,
    Micros | null,
    boolean,
    number,
    readonly Uuid[],
  ];
  return { job, status, endedAt, whole, agents, deleted };
}

/** The agents of a start: id, when its start was over, how. */
export function encodeAgents({ agents }: PendingStart): string {
  return JSON.stringify(
    agents.map(({ id, start }) => (start ? [id, start.at, start.status] : [id])),
  );
}

function decodeAgents(json: string): readonly StartingAgent[] {
  const agents = JSON.parse(json) as ([Uuid] | [Uuid, Micros, StartStatus | null])[];
  return agents.map(([id, at, status = null]) => ({
    id,
    start: at === undefined ? null : { at, status },
  }));
}

export function decodeEntity(kind: EntityKind, record: EntityRecord): Entity {
  const common = { id: bytesToId(record.id), createdAt: record.created_at };
  switch (kind) {
    case "build":
      return { kind, ...common, ...decodeOfBuild(record) };
    case "agent":
      return {
        kind,
        ...common,
        names: decodeAgentNames(record.names),
        workspace: decodeWorkspace(record.workspace),
        light: decodeLight(record),
        timeout: record.timeout,
        due: record.due,
      };
    case "workspace": {
      const { workspace, ...build } = decodeOfBuild(record);
      return {
        kind,
        ...common,
        ...build,
        workspace: must(workspace, "a workspace without its name"),
        ...decodeLive(must(record.live, "a workspace without its status")),
      };
    }
    case "start":
      return {
        kind,
        ...common,
        ...decodeOfBuild(record),
        agents: decodeAgents(must(record.live, "a start without its agents")),
      };
    case "job":
      return { kind, ...common, ...must(decodeJob(record.traits), "a job without its type") };
  }
}
