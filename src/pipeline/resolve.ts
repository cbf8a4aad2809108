// Rows to events: what the stream lacks is fetched by primary key, once per batch, and only for rows that need it.

import { setTimeout as sleep } from "node:timers/promises";
import { must } from "../errors.ts";
import type { Log } from "../log.ts";
import type { AgentRow, BuildRow, JobRow, Row, Tx, Uuid } from "../change/row.ts";
import { type Micros, clamped } from "../change/micros.ts";
import type { Batch } from "../change/source.ts";
import { startOf, tellsOfStart } from "../change/start.ts";
import type { AgentNames, Names } from "../derive/fact.ts";
import type { ToldStart } from "../derive/starts.ts";
import { type AgentEvent, type BuildEvent, type Event, mayClaim } from "../derive/step.ts";
import type { Vitals } from "../metrics/vitals.ts";
import {
  type AgentPlace,
  type BuildPlace,
  type OfferPlace,
  type StartPlace,
  allVisible,
  lookupAgents,
  lookupBuilds,
  lookupOffers,
  lookupStarts,
} from "../postgres/lookup.ts";
import type { Session } from "../postgres/session.ts";

/** How long to wait before asking again whether a held-up commit is visible: from, up to. */
const HELD_FROM_MS = 5;
const HELD_UP_TO_MS = 250;

/** Completed imports of versions that belong to no template yet (Coder creates the template afterwards), by deadline. */
export type Unplaced = Map<Uuid, number>;

export interface ResolverOptions {
  readonly session: Session;
  readonly vitals: Vitals;
  readonly log: Log;
  /** Outlives the resolver where its owner keeps it: the stream tells of an import once. */
  readonly unplaced?: Unplaced | undefined;
}

/** How long an import without a template is asked about again, and how often at most: some never get one. */
const UNPLACED_FOR_MS = 3_600_000;
const UNPLACED_EVERY_MS = 5_000;

/** Resolves for one stream; discarded with it. */
export class Resolver {
  readonly #options: ResolverOptions;
  readonly #unplaced: Unplaced;
  #askAgainAt = 0;

  constructor(options: ResolverOptions) {
    this.#options = options;
    this.#unplaced = options.unplaced ?? new Map();
  }

  /** Events of these transactions, in order. Waits, unacknowledged, until queries can see what was streamed. */
  async resolve(batch: Pick<Batch, "txs" | "end">, signal: AbortSignal): Promise<readonly Event[]> {
    const wanted = batch.txs.filter((tx) => tx.rows.some(needsLookup));
    if (wanted.length > 0) await awaitVisible(wanted, this.#options, signal);
    const found = wanted.length > 0 ? await lookUp(wanted, this.#options) : NOTHING_FOUND;
    const events = batch.txs.flatMap((tx) => tx.rows.map((row) => eventOf(row, tx, found)));
    const offers = await this.#offers(wanted);
    return [...events, ...offers.map((place) => offerEvent(place, batch.end))];
  }

  /** What the imports in these transactions, and earlier ones that had no template yet, make buildable. */
  async #offers(txs: readonly Tx[]): Promise<readonly OfferPlace[]> {
    const now = performance.now();
    const imports = txs.flatMap((tx) => tx.rows).filter(isImport);
    for (const { id } of imports) this.#unplaced.set(id, now + UNPLACED_FOR_MS);
    for (const [job, deadline] of this.#unplaced) if (deadline < now) this.#unplaced.delete(job);
    const due = imports.length > 0 || now >= this.#askAgainAt;
    if (this.#unplaced.size === 0 || !due) return [];
    this.#askAgainAt = now + UNPLACED_EVERY_MS;
    const offers = await lookupOffers(this.#options.session, [...this.#unplaced.keys()]);
    for (const { importJob } of offers) if (importJob !== null) this.#unplaced.delete(importJob);
    return offers;
  }
}

interface Found {
  readonly builds: ReadonlyMap<Uuid, BuildPlace>;
  readonly agents: ReadonlyMap<Uuid, AgentPlace>;
  /** By resource. */
  readonly starts: ReadonlyMap<Uuid, ToldStart>;
}

const NOTHING_FOUND: Found = { builds: new Map(), agents: new Map(), starts: new Map() };

const isBuild = (row: Row): row is BuildRow => row.kind === "build";
const isLookedUpAgent = (row: Row): row is AgentRow =>
  row.kind === "agent" && (row.isNew || row.deleted);
const isImport = (row: Row): row is JobRow =>
  row.kind === "job" &&
  row.type === "template_version_import" &&
  row.completedAt !== null &&
  !row.failed;
/** Whether it may be news of a start: then it is asked what the build's agents say by now. */
const isStartingAgent = (row: Row): row is AgentRow =>
  row.kind === "agent" && !row.isNew && tellsOfStart(row);
const needsLookup = (row: Row): boolean =>
  isBuild(row) || isLookedUpAgent(row) || isStartingAgent(row) || isImport(row);

async function awaitVisible(
  txs: readonly Tx[],
  options: ResolverOptions,
  signal: AbortSignal,
): Promise<void> {
  const xids = txs.flatMap((tx) => tx.xid ?? []);
  for (
    let wait = HELD_FROM_MS;
    !(await allVisible(options.session, xids));
    wait = Math.min(wait * 2, HELD_UP_TO_MS)
  ) {
    options.vitals.lookups.held += 1;
    if (wait === HELD_UP_TO_MS / 2)
      options.log.info("commit is not visible yet, is synchronous replication stuck?");
    await sleep(wait, undefined, { signal });
  }
}

async function lookUp(txs: readonly Tx[], { session, vitals }: ResolverOptions): Promise<Found> {
  const rows = txs.flatMap((tx) => tx.rows);
  const builds = rows.filter(isBuild).map((row) => ({ ...row, mayClaim: mayClaim(row) }));
  const agents = rows.filter(isLookedUpAgent);
  const buildPlaces = builds.length > 0 ? await lookupBuilds(session, builds) : [];
  const agentPlaces = agents.length > 0 ? await lookupAgents(session, agents) : [];
  const starting = rows.filter(isStartingAgent).map(({ resource }) => resource);
  const starts = starting.length > 0 ? await lookupStarts(session, starting) : [];
  const missing =
    buildPlaces.filter(({ template }) => template === null).length +
    agentPlaces.filter(({ jobType }) => jobType === null).length;
  vitals.lookups.missing += missing;
  vitals.lookups.found += buildPlaces.length + agentPlaces.length - missing;
  return {
    builds: new Map(buildPlaces.map((place) => [place.build, place])),
    agents: new Map(agentPlaces.map((place) => [place.agent, place])),
    starts: new Map([...Map.groupBy(starts, ({ resource }) => resource)].map(startOfBuild)),
  };
}

function startOfBuild([resource, places]: readonly [Uuid, readonly StartPlace[]]): [
  Uuid,
  ToldStart,
] {
  const { job, createdAt } = must(places[0], "a group without a member");
  const agents = places.map((agent) => ({ id: agent.id, start: startOf(agent) }));
  return [resource, { job, createdAt, agents }];
}

function eventOf(row: Row, { end, at }: Tx, found: Found): Event {
  switch (row.kind) {
    case "build":
      return buildEvent(row, must(found.builds.get(row.id), "a build that was not looked up"), {
        end,
        fromTables: false,
      });
    case "agent": {
      const event = agentEvent(row, found.agents.get(row.id), { end, at, fromTables: false });
      return isStartingAgent(row)
        ? { ...event, start: found.starts.get(row.resource) ?? null }
        : event;
    }
    case "job":
      return { row, end };
    case "gone":
      return { row, end };
  }
}

/** A job that is gone has an empty provisioner. */
export function buildEvent(
  row: BuildRow,
  place: BuildPlace,
  told: Pick<BuildEvent, "end" | "fromTables">,
): BuildEvent {
  const { version, owner, workspace, deleted, provisioner, claimed } = place;
  return {
    row,
    ...told,
    deleted: deleted !== false,
    names: { ...namesOf(place), version: version ?? "" },
    owner: owner ?? "",
    workspace: workspace ?? "",
    provisioner: provisioner ?? "",
    claimed,
  };
}

/** A part that is gone has an empty label. */
function namesOf(place: Pick<BuildPlace, "organization" | "template" | "preset">): Names {
  return {
    organization: place.organization ?? "",
    template: place.template ?? "",
    preset: place.preset ?? "",
  };
}

function agentNames(row: AgentRow, place: AgentPlace): AgentNames {
  return {
    ...namesOf(place),
    agent: row.name,
    username: place.username ?? "",
    workspace: place.workspace ?? "",
  };
}

export interface ToldAgent extends Pick<AgentEvent, "end" | "fromTables"> {
  /** By the server's clock: when its row was committed, or was there; null: not known. */
  readonly at: Micros | null;
}

/** Without a place for agents that no workspace build made: those of imports and dry runs never connect. */
export function agentEvent(
  row: AgentRow,
  place: AgentPlace | undefined,
  { at, ...told }: ToldAgent,
): AgentEvent {
  if (place?.jobType !== "workspace_build") return { row, ...told, names: null, times: null };
  const { job, workspaceId: workspace, transition, createdAt, startedAt, completedAt } = place;
  const isBuilt = job !== null && workspace !== null && transition !== null && createdAt !== null;
  const { timeout } = place;
  // The server's clock may differ from coderd's by more than any grace, but not from itself.
  const from = Math.max(row.createdAt, at ?? row.createdAt);
  return {
    row,
    ...told,
    names: row.isNew ? agentNames(row, place) : null,
    times: isBuilt ? { job, workspace, transition, createdAt, startedAt, completedAt } : null,
    ...(row.isNew && timeout !== null && { limit: { timeout, due: clamped(from + timeout) } }),
  };
}

/** What can be built exists at 0 from now on. */
export function offerEvent(place: OfferPlace, end: Tx["end"]): Event {
  return { row: { kind: "offer", id: place.id, at: place.at }, end, names: namesOf(place) };
}
