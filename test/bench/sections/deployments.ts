// The deployments on which polling and growth measure, made once for both: a million builds take minutes. Who needs them last
// ends them; if nobody comes to that, they end with this process.

import { readFile } from "node:fs/promises";
import { type Bed, openBed } from "../support/bed.ts";
import { orAborted } from "../support/waiting.ts";
import { endServers } from "./servers.ts";

const RUNNING = new URL("running.sql", import.meta.url);
const BUILDS_PER_WORKSPACE = 10;
const HEARTBEAT_EVERY_S = 15;

export interface Deployment {
  readonly builds: number;
  /** Agents that are connected: one for each workspace. */
  readonly agents: number;
  /** Heartbeats of these agents, per second. */
  readonly rate: number;
  readonly bed: Bed;
}

export interface Use {
  /** Builds of each. */
  readonly sizes: readonly number[];
  /** Whether disposing ends the servers. */
  readonly last: boolean;
  readonly signal: AbortSignal;
}

const open = new Map<number, Promise<Bed>>();

/** Deployments with about so many builds, all their workspaces running. Those that are not there yet are made at the same time. */
export async function useDeployments(
  use: Use,
): Promise<{ readonly deployments: readonly Deployment[] } & AsyncDisposable> {
  const deployments = await Promise.all(
    use.sizes.map(async (builds) => {
      const agents = Math.ceil(builds / BUILDS_PER_WORKSPACE);
      const bed = await orAborted(bedOf(agents), use.signal);
      return { builds, agents, rate: agents / HEARTBEAT_EVERY_S, bed };
    }),
  );
  return {
    deployments,
    async [Symbol.asyncDispose]() {
      if (!use.last && !use.signal.aborted) return;
      for (const { agents, bed } of deployments) {
        open.delete(agents);
        await bed[Symbol.asyncDispose]();
      }
    },
  };
}

async function bedOf(agents: number): Promise<Bed> {
  if (open.size === 0) process.once("exit", endServers);
  const bed = open.get(agents) ?? openRunning(agents);
  bed.catch(() => open.delete(agents));
  open.set(agents, bed);
  return bed;
}

async function openRunning(workspaces: number): Promise<Bed> {
  const bed = await openBed(workspaces);
  try {
    await bed.admin.query("set session_replication_role = replica");
    await bed.admin.query(await readFile(RUNNING, "utf8"));
    await bed.admin.query("reset session_replication_role");
    await bed.admin.query("vacuum (freeze, analyze)");
    await bed.admin.query("checkpoint");
    return bed;
  } catch (error) {
    await bed[Symbol.asyncDispose]();
    throw error;
  }
}
