// Rows to events: what the stream lacks is fetched by primary key, once per batch, and only for rows that need it.

import { setTimeout as sleep } from "node:timers/promises";
import type { Log } from "../log.ts";
import type { AgentRow, BuildRow, JobRow, Row, Tx } from "../change/row.ts";
import type { AgentNames, BuildNames } from "../derive/fact.ts";
import { type Event, isFirstBuild } from "../derive/step.ts";
import type { Vitals } from "../metrics/vitals.ts";
import {
  type AgentPlace,
  type BuildPlace,
  type OfferPlace,
  allVisible,
  lookupAgents,
  lookupBuilds,
  lookupOffers,
} from "../postgres/lookup.ts";
import type { Session } from "../postgres/session.ts";

/** How long to wait before asking again whether a held-up commit is visible: from, up to. */
const HELD_FROM_MS = 5;
const HELD_UP_TO_MS = 250;

export interface ResolverOptions {
  readonly session: Session;
  /** Only a primary streams what its queries can not see yet. */
  readonly primary: boolean;
  readonly vitals: Vitals;
  readonly log: Log;
}

/** Resolves the rows of transactions, in their order. Waits, unacknowledged, until queries can see what was streamed. */
export async function resolve(
  txs: readonly Tx[],
  options: ResolverOptions,
  signal: AbortSignal,
): Promise<readonly Event[]> {
  const wanted = txs.filter((tx) => tx.rows.some(needsLookup));
  if (wanted.length === 0)
    return txs.flatMap((tx) => tx.rows.flatMap((row) => eventOf(row, tx, NOTHING_FOUND)));
  if (options.primary) await awaitVisible(wanted, options, signal);
  const found = await lookUp(wanted, options);
  return txs.flatMap((tx) => tx.rows.flatMap((row) => eventOf(row, tx, found)));
}

interface Found {
  readonly builds: ReadonlyMap<string, BuildPlace>;
  readonly agents: ReadonlyMap<string, AgentPlace>;
  /** By import job, all that its completion offers; they are looked up together, so the first job carries them. */
  readonly offers: ReadonlyMap<string, readonly OfferPlace[]>;
}

const NOTHING_FOUND: Found = { builds: new Map(), agents: new Map(), offers: new Map() };

const isLookedUpBuild = (row: Row): row is BuildRow => row.kind === "build" && isFirstBuild(row);
const isLookedUpAgent = (row: Row): row is AgentRow => row.kind === "agent" && row.isNew;
const isImport = (row: Row): row is JobRow =>
  row.kind === "job" &&
  row.type === "template_version_import" &&
  row.completedAt !== null &&
  !row.failed;
const needsLookup = (row: Row): boolean =>
  isLookedUpBuild(row) || isLookedUpAgent(row) || isImport(row);

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
  const builds = rows.filter(isLookedUpBuild);
  const agents = rows.filter(isLookedUpAgent);
  const imports = rows.filter(isImport);
  const buildPlaces = builds.length > 0 ? await lookupBuilds(session, builds) : [];
  const agentPlaces =
    agents.length > 0
      ? await lookupAgents(
          session,
          agents.map(({ resource }) => resource),
        )
      : [];
  const offers =
    imports.length > 0
      ? await lookupOffers(
          session,
          imports.map(({ id }) => id),
        )
      : [];
  const missing =
    buildPlaces.filter(({ template }) => template === null).length +
    agentPlaces.filter(({ jobType }) => jobType === null).length;
  vitals.lookups.missing += missing;
  vitals.lookups.found += buildPlaces.length + agentPlaces.length + offers.length - missing;
  const firstImport = imports[0];
  return {
    builds: new Map(buildPlaces.map((place) => [place.build, place])),
    agents: new Map(agentPlaces.map((place) => [place.resource, place])),
    offers: new Map(firstImport ? [[firstImport.id, offers]] : []),
  };
}

function eventOf(row: Row, { end }: Tx, found: Found): Event[] {
  switch (row.kind) {
    case "build": {
      const place = found.builds.get(row.id);
      return [{ row, end, names: place ? buildNames(place) : null }];
    }
    case "agent":
      return [{ row, end, names: agentNames(row, found.agents.get(row.resource)) }];
    case "job":
      return [
        { row, end },
        ...(found.offers.get(row.id) ?? []).map((place) => offerEvent(place, end)),
      ];
    case "gone":
      return [{ row, end }];
  }
}

/** A part that is gone has an empty label. */
export function buildNames(
  place: Pick<BuildPlace, "organization" | "template" | "preset">,
): BuildNames {
  return {
    organization: place.organization ?? "",
    template: place.template ?? "",
    preset: place.preset ?? "",
  };
}

/** Null for agents that no workspace build made: those of imports and dry runs never connect. */
export function agentNames(
  row: Pick<AgentRow, "name">,
  place: AgentPlace | undefined,
): AgentNames | null {
  if (place?.jobType !== "workspace_build") return null;
  return {
    ...buildNames(place),
    agent: row.name,
    username: place.username ?? "",
    workspace: place.workspace ?? "",
  };
}

/** What can be built exists at 0 from now on. */
export function offerEvent(place: OfferPlace, end: Tx["end"]): Event {
  return { row: { kind: "offer", id: place.id, at: place.at }, end, names: buildNames(place) };
}
