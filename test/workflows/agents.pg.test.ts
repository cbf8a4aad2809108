// The life of an agent row: one first connection each, whatever else is written to it.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SECOND } from "../../src/change/micros.ts";
import type { Agent, Build } from "../../src/demo/coder/model.ts";
import { must } from "../../src/errors.ts";
import { divergentBesideStarts } from "../support/ledger.ts";
import { byLabels } from "../support/scrape.ts";
import {
  type Stage,
  all,
  attempted,
  connected,
  ended,
  openStage,
  succeeded,
} from "./support/stage.ts";

const SKEW_WARNING =
  "negative agent first connection duration (possible clock skew); dropping sample";

let stage: Stage;
beforeAll(async () => {
  stage = await openStage({ seed: 4 });
});
afterAll(async () => stage[Symbol.asyncDispose]());

/** A first build that has completed; its agents have not connected. */
async function built(template = "docker"): Promise<Build> {
  const { steps } = stage.simulation;
  const { result } = await stage.run(async () => {
    const build = await steps.firstBuild({ template: stage.template(template).id, preset: null });
    await steps.acquire(build);
    await steps.complete(build);
    return build;
  });
  return result;
}

async function onlyAgent(): Promise<Agent> {
  return must((await built()).agents[0], "an agent");
}

function warnings(): { agent: string; level: string }[] {
  return stage.log
    .map((line) => JSON.parse(line) as { agent: string; level: string; message: string })
    .filter(({ message }) => message === SKEW_WARNING);
}

describe("durations", () => {
  test.each([
    ["no time at all", 0, "1.0"],
    ["exactly a bound", 10 * SECOND, "10.0"],
    ["a microsecond above a bound", 10 * SECOND + 1, "30.0"],
    ["longer than all bounds", 3_601 * SECOND, "+Inf"],
  ])("%s falls into the right bucket", async (_what, took, first) => {
    const agent = await onlyAgent();
    await stage.moved(() =>
      stage.simulation.steps.connect(agent, { clock: agent.createdAt + took }),
    );
    const { owner, name } = agent.build.workspace;
    const buckets = [...byLabels(stage.scrape, "coderd_agents_first_connection_seconds_bucket")]
      .map(([labels, count]) => [JSON.parse(labels) as string[], count] as const)
      .filter(([labels]) => labels[2] === owner.username && labels[3] === name);
    expect(buckets.find(([, count]) => count === 1)?.[0].at(-1)).toBe(first);
    expect(buckets).toHaveLength(10);
  });

  test("an agent that connects at once is a sample of 0 seconds", async () => {
    const { moved, result: build } = await stage.run(() =>
      stage.simulation.workflows.connectsAtOnce({ template: stage.template("docker").id }),
    );
    expect(moved).toEqual(succeeded(build));
    expect(build.agents[0]?.firstConnectedAt).toBe(build.agents[0]?.createdAt);
  });

  test("a negative duration is dropped, counted, and logged once for each agent", async () => {
    const before = warnings().length;
    const { moved, result: build } = await stage.run(() =>
      stage.simulation.workflows.connectsBeforeCreation({
        template: stage.template("kubernetes").id,
      }),
    );
    expect(build.agents).toHaveLength(2);
    expect(moved).toEqual(
      all(attempted(build), ended(build, "success"), { "dropped negative": 2 }),
    );
    const logged = warnings().slice(before);
    expect(logged.map(({ agent }) => agent).sort()).toEqual(
      build.agents.map(({ id }) => id).sort(),
    );
    expect(logged.map(({ level }) => level)).toEqual(["warn", "warn"]);
    // Everything that is written to them later repeats the negative time.
    expect(
      await stage.moved(async () => {
        for (const agent of build.agents) {
          await stage.simulation.steps.heartbeat(agent);
          await stage.simulation.steps.disconnect(agent);
          await stage.simulation.steps.connect(agent);
        }
      }),
    ).toEqual({});
    expect(warnings()).toHaveLength(before + 2);
  });
});

describe("repetitions", () => {
  test("heartbeats, lifecycle, startup and logs repeat the first connection and add nothing", async () => {
    const agent = await onlyAgent();
    const { steps } = stage.simulation;
    await steps.wait(20 * SECOND);
    expect(await stage.moved(() => steps.connect(agent))).toEqual(connected([agent]));
    expect(await stage.moved(() => steps.startUp(agent))).toEqual({});
    expect(await stage.moved(() => steps.heartbeat(agent))).toEqual({});
    expect(
      await stage.moved(() => stage.simulation.heartbeats({ agents: [agent], count: 500 })),
    ).toEqual({});
  });

  test("a disconnect and a reconnect, with the lifecycle once more, are no second first connection", async () => {
    const agent = await onlyAgent();
    const { steps } = stage.simulation;
    await steps.wait(20 * SECOND);
    await stage.moved(() => steps.connect(agent));
    expect(await stage.moved(() => steps.disconnect(agent))).toEqual({});
    await steps.wait(60 * SECOND);
    expect(await stage.moved(() => steps.connect(agent))).toEqual({});
    expect(await stage.moved(() => steps.startUp(agent))).toEqual({});
  });

  test("a first connection whose write failed appears with the disconnect, and counts", async () => {
    const agent = await onlyAgent();
    const first = agent.createdAt + 12 * SECOND;
    const moved = await stage.moved(() =>
      stage.client.query(
        `update workspace_agents set first_connected_at = created_at + interval '12 s',
           last_connected_at = created_at + interval '13 s', disconnected_at = created_at + interval '13 s'
         where id = $1`,
        [agent.id],
      ),
    );
    expect(moved).toEqual(connected([{ ...agent, firstConnectedAt: first }]));
    // What the simulation has not done itself, it must be told.
    await stage.simulation.steps.connect(agent, { clock: first });
  });

  test("the first connection after the soft delete of its row counts", async () => {
    const agent = await onlyAgent();
    const { steps } = stage.simulation;
    // As Coder does it: with the end of the next build.
    await stage.run(async () => {
      const { workspace } = agent.build;
      const next = await steps.laterBuild({ workspace: workspace.id, transition: "start" });
      await steps.acquire(next);
      await steps.wait(20 * SECOND);
      await steps.complete(next);
    });
    const { rows } = await stage.client.query(
      "select deleted from workspace_agents where id = $1",
      [agent.id],
    );
    expect(rows).toEqual([{ deleted: true }]);
    expect(await stage.moved(() => steps.connect(agent))).toEqual(connected([agent]));
  });

  test("soft deletes of old agents by the next build add nothing", async () => {
    const { workflows } = stage.simulation;
    const { result: build } = await stage.run(() =>
      workflows.createRegular({ template: stage.template("kubernetes").id }),
    );
    const { result: next, moved } = await stage.run(() =>
      workflows.update({ workspace: build.workspace.id }),
    );
    expect(moved).toEqual(connected(next.agents));
    const { rows } = await stage.client.query<{ deleted: boolean }>(
      "select deleted from workspace_agents where id = any ($1)",
      [build.agents.map(({ id }) => id)],
    );
    expect(rows.map(({ deleted }) => deleted)).toEqual(build.agents.map(() => true));
  });
});

describe("several agents", () => {
  test("two agents of one build have a series each", async () => {
    const build = await built("kubernetes");
    const { steps } = stage.simulation;
    await steps.wait(30 * SECOND);
    for (const agent of build.agents)
      expect(await stage.moved(() => steps.connect(agent))).toEqual(connected([agent]));
    expect(build.agents.map(({ name }) => name)).toEqual(["main", "sidecar"]);
  });

  test("of two agents one never connects: its series stays at 0", async () => {
    const build = await built("kubernetes");
    const [main, sidecar] = build.agents;
    await stage.simulation.steps.wait(30 * SECOND);
    await stage.moved(() => stage.simulation.steps.connect(must(main, "main")));
    const { owner, name } = build.workspace;
    const labels = JSON.stringify(["kubernetes", sidecar?.name, owner.username, name]);
    const counts = byLabels(stage.scrape, "coderd_agents_first_connection_seconds_count");
    expect(counts.get(labels)).toBe(0);
  });

  test("sub-agents declared in the template connect like any other", async () => {
    const build = await built("devcontainer");
    await stage.simulation.steps.wait(30 * SECOND);
    expect(build.agents.map(({ parent }) => parent !== null)).toEqual([false, true, true]);
    const moved = await stage.moved(async () => {
      for (const agent of build.agents) await stage.simulation.steps.connect(agent);
    });
    expect(moved).toEqual(connected(build.agents));
  });

  test("a dynamic sub-agent is born at 0 when its row is inserted, and connects", async () => {
    const { steps } = stage.simulation;
    const parent = await onlyAgent();
    await steps.wait(20 * SECOND);
    await stage.moved(() => steps.connect(parent));
    const { result, moved } = await stage.run(() => steps.insertSubAgent(parent));
    const child = must(result, "a sub-agent");
    expect(moved).toEqual({});
    const { owner, name } = child.build.workspace;
    expect(stage.born).toContain(`connections docker|${child.name}|${owner.username}|${name}`);
    await steps.wait(10 * SECOND);
    expect(await stage.moved(() => steps.connect(child))).toEqual(connected([child]));
  });

  test("the whole life of a dynamic sub-agent is one first connection", async () => {
    const { workflows } = stage.simulation;
    const { result: build } = await stage.run(() =>
      workflows.createRegular({ template: stage.template("docker").id }),
    );
    const { result: child, moved } = await stage.run(() =>
      workflows.dynamicSubAgent({ workspace: build.workspace.id }),
    );
    expect(moved).toEqual(connected([must(child, "a sub-agent")]));
  });
});

test("by id, the ledger of all this equals the tables and what was meant to happen", async () => {
  expect([...divergentBesideStarts(await stage.finish())]).toEqual([]);
});
