// A store restored from an older copy. Whatever the slot has that the copy has not is replayed; what the slot has no more is
// a gap. Nothing is counted twice, and no page shows less than one before.

import { copyFileSync, rmSync } from "node:fs";
import { expect, test } from "vitest";
import { createSlot } from "../../crash/support/slots.ts";
import { expectSumsEqualRecount } from "../../support/exact.ts";
import { startInProcess, uniqueSlot } from "../../support/firstlight.ts";
import { JOBS, at } from "../../support/hand-made.ts";
import { regressions, sumOf, valueOf } from "../../support/scrape.ts";
import { expectAccounted } from "../support/accounted.ts";
import { type Scene, gaps, scene } from "../support/scene.ts";

/** One that ends, one that fails, one that stays in flight, and agents. */
async function life({ client, made, inOne }: Scene): Promise<void> {
  const { job } = await inOne(() => made.build({ job: JOBS.running }));
  await client.query("update provisioner_jobs set completed_at = $2 where id = $1", [job, at(60)]);
  const agent = await made.agent(job);
  await client.query("update workspace_agents set first_connected_at = $2 where id = $1", [
    agent,
    at(75),
  ]);
  await inOne(() => made.build({ job: JOBS.failed, preset: made.large }));
  await made.agent((await inOne(() => made.build())).job);
}

/** A closed store is one file. */
function restore(from: string, to: string): void {
  for (const suffix of ["-wal", "-shm"]) rmSync(`${to}${suffix}`, { force: true });
  copyFileSync(from, to);
}

/** Follows a first stretch, keeps a copy, follows a second one, and has left with a third one uncounted. */
async function aged(on: Scene): Promise<{ readonly copy: string; readonly parked: string }> {
  const copy = `${on.statePath}.older`;
  const parked = uniqueSlot();
  await life(on);
  await on.follow();
  await createSlot(on.client, parked);
  await life(on);
  await on.shown();
  await on.leave();
  copyFileSync(on.statePath, copy);
  await on.follow();
  await life(on);
  await on.shown();
  await on.leave();
  await life(on);
  return { copy, parked };
}

test("the slot is ahead of the copy: a gap, hidden until it is healed", async () => {
  await scene({}, async (on) => {
    const { copy } = await aged(on);
    restore(copy, on.statePath);
    const page = await on.follow();
    expect(gaps(page)).toEqual({ slot_ahead: 1 });
    expect(sumOf(page, "coderd_workspace_creation_attempts_total")).toBe(12);
    await expectSumsEqualRecount(on.client, page);
    await life(on);
    await expectSumsEqualRecount(on.client, await on.shown());
    await on.leave();
    await expectAccounted(on.client, on.statePath);
  });
});

test("the slot is even older than the copy: replayed over what is known, no gap", async () => {
  await scene({}, async (on) => {
    const { client, slot } = on;
    const { copy, parked } = await aged(on);
    await client.query("select pg_drop_replication_slot($1)", [slot]);
    await client.query("select pg_copy_logical_replication_slot($1, $2)", [parked, slot]);
    restore(copy, on.statePath);
    // Nothing tells it that anybody has seen more: it shows what it has, and what it catches up with.
    await on.forgetPages();
    const page = await on.follow();
    expect(gaps(page)).toEqual({});
    expect(valueOf(page, "firstlight_baselines_total")).toBe(0);
    await expectSumsEqualRecount(client, page);
    await on.leave();
    await expectAccounted(client, on.statePath);

    // The same once more, now over a store that has everything.
    await client.query("select pg_drop_replication_slot($1)", [slot]);
    await client.query("select pg_copy_logical_replication_slot($1, $2)", [parked, slot]);
    const again = await on.follow();
    expect(gaps(again)).toEqual({});
    expect(regressions(page, again)).toEqual([]);
    expect(regressions(again, page)).toEqual([]);
    await on.leave();
    await expectAccounted(client, on.statePath);
  });
});

test("a copy seeds a second instance with a slot of its own: a gap, and the same totals", async () => {
  await scene({}, async (on) => {
    const { copy } = await aged(on);
    const first = await on.follow();
    {
      await using second = await startInProcess({
        url: on.place.url,
        slot: uniqueSlot(),
        statePath: copy,
      });
      const page = await second.caughtUp();
      expect(gaps(page)).toEqual({ slot_missing: 1 });
      expect(regressions(first, page)).toEqual([]);
      expect(regressions(page, first)).toEqual([]);
      await expectSumsEqualRecount(on.client, page);
    }
    await expectAccounted(on.client, copy);
  });
});
