// Odd things that agents do: clocks that disagree, connections that overlap, devcontainers that come and go.

import { SECOND, type Micros } from "../../../change/micros.ts";
import { must } from "../../../errors.ts";
import { complete, queueAndAcquire, work, workTime } from "../building.ts";
import * as connecting from "../connecting.ts";
import type { Agent, Build } from "../model.ts";
import { agentConnection } from "../statements/agents.ts";
import type { Process } from "../timeline.ts";
import type { World } from "../world.ts";
import {
  draftWorkspace,
  hold,
  insertFirstBuild,
  newWorkspace,
  reserve,
  templateOf,
  userOf,
  type CreateOptions,
  type WorkspaceOptions,
} from "./reserve.ts";
import { createTemplate } from "./templates.ts";

/** The clock of the replica that inserted the agents ran ahead: they connected before they were created. */
export async function* connectsBeforeCreation(
  world: World,
  options: CreateOptions = {},
): Process<Build> {
  return yield* buildAndConnect(
    world,
    options,
    (agent) => agent.createdAt - world.random.between(1, 3 * SECOND),
  );
}

/** The clocks agree so well, or the virtual machine was up so early, that no time passes at all. */
export async function* connectsAtOnce(world: World, options: CreateOptions = {}): Process<Build> {
  return yield* buildAndConnect(world, options, (agent) => agent.createdAt);
}

/** A running workspace gets a devcontainer. */
export async function* dynamicSubAgent(
  world: World,
  options: WorkspaceOptions = {},
): Process<Agent | null> {
  using reserved = yield* reserve(world, "running", options);
  const parent = reserved.workspace.builds.at(-1)?.agents.find((agent) => agent.parent === null);
  return parent ? yield* connecting.dynamicSubAgent(world, parent) : null;
}

/** Divergent: two connections both read NULL, and each goes on writing its own first_connected_at. */
export async function* overlappingConnections(
  world: World,
  options: CreateOptions = {},
): Process<Build> {
  const build = yield* buildWithAgents(world, options);
  using _reserved = hold(build.workspace);
  const agent = must(build.agents[0], "a template with agents has an agent");
  yield 5 * SECOND;
  const one = world.replica();
  const first = one.now();
  yield* connecting.connect(world, agent, { replica: one, clock: first });
  yield world.random.between(0.1 * SECOND, 2 * SECOND);
  const other = world.replica();
  // Whatever the two clocks say, the second value is another one.
  const second = Math.max(other.now(), first + 1_000);
  for (let beat = 0; beat < 4; beat += 1) {
    const [replica, firstConnectedAt] =
      beat % 2 === 0 ? ([other, second] as const) : ([one, first] as const);
    yield* flip(world, agent, { replica, firstConnectedAt });
    yield 7 * SECOND;
  }
  yield* flip(world, agent, { replica: other, firstConnectedAt: second });
  agent.firstConnectedAt = second;
  world.tally.diverged({ kind: "connected", id: agent.id, why: "overlapping_connections" });
  return build;
}

/**
 * Very many agents that have connected and do nothing else: a hundred to a workspace, of a template that nobody else uses.
 * For load; not in the mix.
 */
export async function* connectsMany(
  world: World,
  options: { readonly agents: number },
): Process<readonly Agent[]> {
  const names = Array.from({ length: 100 }, (_, i) => ({ name: `agent-${i}`, subAgents: [] }));
  const { organization } = templateOf(world);
  const template = yield* createTemplate(world, {
    organization,
    name: `crowd-${world.serial()}`,
    presets: [],
    agents: names,
  });
  const born: Agent[] = [];
  while (born.length < options.agents) {
    const workspace = newWorkspace(world, { template, owner: userOf(world) });
    const build = yield* insertFirstBuild(world, workspace);
    yield* queueAndAcquire(world, build.job);
    born.push(...(yield* complete(world, build)));
  }
  const agents = born.slice(0, options.agents);
  for (const agent of agents) {
    yield 0.01 * SECOND;
    yield* connecting.connect(world, agent);
  }
  return agents;
}

async function* flip(
  world: World,
  agent: Agent,
  by: { readonly replica: (typeof world.replicas)[number]; readonly firstConnectedAt: Micros },
): Process {
  yield* world.unlocked(agent.build.workspace);
  const at = by.replica.now();
  const memory = {
    firstConnectedAt: by.firstConnectedAt,
    lastConnectedAt: at,
    disconnectedAt: null,
  };
  await by.replica.send([agentConnection(agent, { ...memory, replica: by.replica.id, at })]);
}

async function* buildAndConnect(
  world: World,
  options: CreateOptions,
  clock: (agent: Agent) => Micros,
): Process<Build> {
  const build = yield* buildWithAgents(world, options);
  using _reserved = hold(build.workspace);
  yield 2 * SECOND;
  for (const agent of build.agents) {
    yield* connecting.connect(world, agent, { clock: clock(agent) });
    yield* connecting.startUp(world, agent);
  }
  return build;
}

/** A first build that has just completed; its agents wait to be connected. */
async function* buildWithAgents(world: World, options: CreateOptions): Process<Build> {
  const withAgents = world.templates.filter(
    ({ deleted, version }) => !deleted && version.agents.length > 0,
  );
  const template = options.template ?? world.random.pick(withAgents).id;
  const { workspace, ...request } = draftWorkspace(world, { ...options, template });
  using _reserved = hold(workspace);
  const build = yield* insertFirstBuild(world, workspace, request);
  yield* queueAndAcquire(world, build.job);
  yield* work(world, build.job, workTime(world));
  yield* complete(world, build);
  return build;
}
