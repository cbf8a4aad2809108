// The simulation in step with the wall clock, and the load of very many heartbeats.

import { expect, test } from "vitest";
import type { Expected } from "../../../src/demo/coder/tally.ts";
import { openStage } from "./support/stage.ts";
import { listen } from "./support/wal.ts";

const HOUR_MS = 3_600_000;

test("simulated time catches up with the wall clock and never passes it", async () => {
  await using stage = await openStage({ startAt: (Date.now() - 120_000) * 1000 });
  const { simulation } = stage;
  const controller = new AbortController();
  const pacing = simulation.pace({ speed: 200, signal: controller.signal });
  const behind: number[] = [];
  const deadline = Date.now() + 20_000;
  const caughtUp = (): boolean =>
    behind.slice(-3).every((seconds) => seconds < 20) && behind.length > 3;
  while (!caughtUp() && Date.now() < deadline) {
    behind.push(Date.now() / 1000 - simulation.now / 1_000_000);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  controller.abort();
  await pacing;
  expect(Math.min(...behind)).toBeGreaterThanOrEqual(0);
  expect(Date.now() * 1000).toBeGreaterThanOrEqual(simulation.now);
  expect(caughtUp()).toBe(true);
});

test("half an hour of simulated traffic brings successes, failures and first connections", async () => {
  await using stage = await openStage({ startAt: (Date.now() - HOUR_MS) * 1000 });
  const { simulation } = stage;
  const controller = new AbortController();
  const started = simulation.now;
  const pacing = simulation.pace({ speed: 600, signal: controller.signal });
  const deadline = Date.now() + 20_000;
  while (!seen(simulation.expected()) && Date.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  controller.abort();
  await pacing;
  expect(seen(simulation.expected())).toBe(true);
  expect(simulation.now - started).toBeLessThan((HOUR_MS / 2) * 1000);
});

test("pacing that has stopped leaves nothing open and can go on", async () => {
  await using stage = await openStage({ startAt: (Date.now() - HOUR_MS) * 1000 });
  const { simulation } = stage;
  for (let i = 0; i < 3; i += 1) {
    const before = simulation.expected().builds.size;
    const controller = new AbortController();
    const pacing = simulation.pace({ speed: 600, signal: controller.signal });
    while (simulation.expected().builds.size < before + 5) await new Promise(setImmediate);
    controller.abort();
    await pacing;
    const { rows } = await stage.client.query(
      `select count(*)::int as open from pg_stat_activity
       where application_name = 'coderd' and state <> 'idle' and datname = current_database()`,
    );
    expect(rows).toEqual([{ open: 0 }]);
  }
  await simulation.run({ workflows: 0 });
});

test("a load of heartbeats is that many transactions, or one, and changes no first connection", async () => {
  await using stage = await openStage();
  const { simulation, client } = stage;
  const agents = await simulation.steps.connectsMany({ agents: 30 });
  const firsts = async (): Promise<unknown> =>
    (await client.query("select id, first_connected_at from workspace_agents order by id")).rows;
  const before = await firsts();
  const wal = await listen(client);
  await simulation.heartbeats({ agents, count: 500 });
  const single = await wal.read();
  expect(single).toHaveLength(500);
  expect(new Set(single.flatMap((tx) => tx.changes))).toEqual(new Set(["update workspace_agents"]));
  await simulation.heartbeats({ agents, count: 1_000, perTransaction: 1_000 });
  expect((await wal.read()).map((tx) => tx.changes.length)).toEqual([1_000]);
  expect(await firsts()).toEqual(before);
});

function seen(expected: Expected): boolean {
  const ended = (status: string): boolean =>
    expected.outcomes.some(({ end }) => end.status === status);
  return ended("success") && ended("failure") && expected.connected.length > 0;
}
