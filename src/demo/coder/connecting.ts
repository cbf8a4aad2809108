// The life of an agent row: birth in the completion of its build, first connection, heartbeats, lifecycle, disconnection
// (coderd/workspaceagentsrpc.go, coderd/agentapi).

import { SECOND, type Micros } from "../../change/micros.ts";
import { agentInsertion, newAgent } from "./drafts.ts";
import { latest, type Agent } from "./model.ts";
import type { Replica } from "./replica.ts";
import * as agents from "./statements/agents.ts";
import type { Sql } from "./sql.ts";
import type { Process } from "./timeline.ts";
import type { World } from "./world.ts";

const HEARTBEAT: Micros = 15 * SECOND;
/** The histogram's bounds, in seconds: a duration that hits one exactly belongs to that bucket. */
const BOUNDS = [1, 10, 30, 60] as const;

/** The agent's row is committed; it lives its life: connects, starts up, beats, and perhaps drops out for a while. */
export async function* live(world: World, agent: Agent): Process {
  const { random } = world;
  if (agent.build.transition !== "start" || random.chance(0.04)) return;
  const replica = world.replica();
  yield firstDelay(world, agent, replica);
  if (!(yield* connect(world, agent, { replica }))) return;
  yield* startUp(world, agent);
  if (agent.parent === null && random.chance(0.15))
    world.timeline.start(dynamicSubAgent(world, agent));
  for (;;) {
    yield* beat(world, agent);
    if (outdated(agent) || !agent.connected) return;
    if (random.chance(0.25)) {
      yield* disconnect(world, agent);
      yield random.between(SECOND, 40 * SECOND);
      if (!(yield* connect(world, agent))) return;
      // A restarted agent process walks through its lifecycle again, on the same row.
      if (random.chance(0.4)) yield* startUp(world, agent);
    } else if (!world.endless) return;
  }
}

/** Whether coderd accepts no connection of this agent any more. */
export function outdated(agent: Agent): boolean {
  return latest(agent.build.workspace) !== agent.build;
}

/**
 * The agent connects, the first time or again. `clock`: the time the replica believes in, where it matters.
 * False, and nothing is written, when a newer build has made the agent outdated.
 */
export async function* connect(
  world: World,
  agent: Agent,
  options: { readonly replica?: Replica; readonly clock?: Micros } = {},
): Process<boolean> {
  const replica = options.replica ?? world.replica();
  yield* world.unlocked(agent.build.workspace);
  if (outdated(agent)) return false;
  const at = options.clock ?? replica.now();
  agent.firstConnectedAt ??= at;
  agent.lastConnectedAt = at;
  await replica.send([connection(agent, replica, at)]);
  agent.connected = true;
  world.tally.connected(agent, agent.firstConnectedAt);
  return true;
}

/** One heartbeat. It writes first_connected_at again, from memory. */
export async function* heartbeat(world: World, agent: Agent, replica: Replica): Process {
  yield* world.unlocked(agent.build.workspace);
  if (!agent.connected || outdated(agent)) return;
  agent.lastConnectedAt = replica.now();
  await replica.send([connection(agent, replica, agent.lastConnectedAt)]);
}

/** The connection ends. Coder writes this after a newer build has deleted the agent, too. */
export async function* disconnect(world: World, agent: Agent): Process {
  const replica = world.replica();
  yield* world.unlocked(agent.build.workspace);
  if (!agent.connected) return;
  agent.disconnectedAt = replica.now();
  agent.connected = false;
  await replica.send([connection(agent, replica, agent.disconnectedAt)]);
}

/** The monitor closes the connection of an outdated agent on its next tick; until then it may report that it shuts down. */
export async function* closeOutdated(world: World, agent: Agent): Process {
  yield world.random.between(0, HEARTBEAT);
  if (fated(agent, 0.6)) yield* shutDown(world, agent);
  yield* disconnect(world, agent);
}

/** Reports that it shuts down, and is off: how its start went is told no more, only when it was over. */
export async function* shutDown(world: World, agent: Agent): Process {
  yield* world.unlocked(agent.build.workspace);
  agent.off = true;
  const [replica] = world.replicas;
  const { startedAt, readyAt } = agent;
  for (const state of ["shutting_down", "off"]) {
    await replica?.send([agents.agentLifecycle(agent, { state, startedAt, readyAt })]);
    world.tally.lifecycle(agent, state);
  }
}

/** Decided by the agent's id, not drawn: what a seed leads to is left as it is. */
function fated(agent: Agent, probability: number): boolean {
  return Number.parseInt(agent.id.slice(0, 6), 16) < probability * 0x100_0000;
}

/** Heartbeats, every 15 s. */
export async function* beat(world: World, agent: Agent): Process {
  const replica = world.replica();
  const beats = world.endless ? world.random.between(8, 80) : world.heartbeats;
  for (let sent = 0; sent < beats; sent += 1) {
    yield HEARTBEAT;
    if (!agent.connected || outdated(agent)) return;
    yield* heartbeat(world, agent, replica);
  }
}

/** Startup, then the lifecycle with the agent's own clock: mostly ready; sometimes late, or too late for ever, sometimes failed. */
export async function* startUp(world: World, agent: Agent): Process {
  const { random } = world;
  const skew = random.between(-2 * SECOND, 2 * SECOND);
  const write = async function* (statement: (now: Micros) => Sql): Process {
    yield* world.unlocked(agent.build.workspace);
    const replica = world.replica();
    if (!agent.off) await replica.send([statement(world.timeline.now + skew)]);
  };
  const reach = (state: string): Process => report(world, agent, state, { skew });
  yield* write(() => agents.agentStartup(agent));
  if (agent.parent !== null) yield* write(() => agents.refineSubAgent(agent));
  yield* reach("starting");
  yield random.between(0.5 * SECOND, 12 * SECOND);
  agent.logsLength += random.between(100, 2_000);
  yield* write(() => agents.agentLogs(agent));
  const fate = random.fraction();
  if (fate < 0.08) return yield* reach("start_error");
  if (fate < 0.2) {
    yield* reach("start_timeout");
    yield random.between(SECOND, 20 * SECOND);
    if (fated(agent, 0.3)) return;
  }
  yield* reach("ready");
}

/** UpdateLifecycle: `starting`, or a state that ends a start. `clock`: the time that the agent believes in, where it matters. */
export async function* report(
  world: World,
  agent: Agent,
  state: string,
  options: { readonly skew?: Micros; readonly clock?: Micros } = {},
): Process {
  yield* world.unlocked(agent.build.workspace);
  const replica = world.replica();
  if (agent.off) return;
  const now = options.clock ?? world.timeline.now + (options.skew ?? 0);
  if (state === "starting" || agent.startedAt === null) agent.startedAt = now;
  agent.readyAt = state === "starting" ? null : now;
  const { startedAt, readyAt } = agent;
  await replica.send([agents.agentLifecycle(agent, { state, startedAt, readyAt })]);
  world.tally.lifecycle(agent, state);
}

/** A devcontainer appears while the workspace runs, lives, and may be removed again. */
export async function* dynamicSubAgent(world: World, parent: Agent): Process<Agent | null> {
  const agent = yield* insertSubAgent(world, parent);
  if (!agent) return null;
  yield world.random.between(SECOND, 20 * SECOND);
  if (!(yield* connect(world, agent))) return agent;
  yield* startUp(world, agent);
  yield* beat(world, agent);
  if (world.random.chance(0.5)) {
    yield* disconnect(world, agent);
    yield* world.unlocked(agent.build.workspace);
    await world.replica().send([agents.deleteSubAgent(agent)]);
  }
  return agent;
}

/** InsertWorkspaceAgent for a devcontainer, on its parent's resource. Null when the parent is outdated. */
export async function* insertSubAgent(world: World, parent: Agent): Process<Agent | null> {
  const { build, resource } = parent;
  const replica = world.replica();
  yield* world.unlocked(build.workspace);
  if (outdated(parent)) return null;
  const name = `devcontainer-${world.serial()}`;
  const agent = newAgent(world, { build, resource, parent, name, createdAt: replica.now() });
  await replica.send([agentInsertion(world, agent)]);
  build.agents.push(agent);
  world.tally.born(agent);
  return agent;
}

/** Mostly a few seconds to two minutes; now and then exactly a bucket's bound. */
function firstDelay(world: World, agent: Agent, replica: Replica): Micros {
  const delay = world.random.between(
    3 * SECOND,
    world.random.chance(0.1) ? 150 * SECOND : 45 * SECOND,
  );
  const exact = agent.createdAt + world.random.pick(BOUNDS) * SECOND - replica.now();
  return world.random.chance(0.15) && exact > 0 ? exact : delay;
}

function connection(agent: Agent, replica: Replica, at: Micros): Sql {
  const { firstConnectedAt, lastConnectedAt, disconnectedAt } = agent;
  return agents.agentConnection(agent, {
    firstConnectedAt,
    lastConnectedAt,
    disconnectedAt,
    replica: replica.id,
    at,
  });
}
