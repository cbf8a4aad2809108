// A server that goes silent while a slot is replayed: a host that vanished never answers, a server that decodes says nothing for long.

import { afterEach, beforeEach, expect, test } from "vitest";
import type { NeedsOperator } from "../../src/errors.ts";
import { ledgerFromSlot } from "../../src/pipeline/ledger-from-slot.ts";
import { LedgerProgress } from "../../src/pipeline/ledger-progress.ts";
import { type Proxy, startProxy } from "../faults/support/proxy.ts";
import { manyAgents } from "../standby/support/many.ts";
import { until } from "../support/firstlight.ts";
import { readingOf } from "./support/reading.ts";
import {
  type Files,
  type Scene,
  copiesOf,
  factsFromSlot,
  factsOf,
  openScene,
  ownTemporaryFolder,
  told,
} from "./support/scene.ts";

let files: Files;
let scene: Scene;
let proxy: Proxy;
beforeEach(async () => {
  files = await ownTemporaryFolder();
  scene = await openScene({ seed: 3, history: 10 });
  await manyAgents(scene.client);
  proxy = await startProxy({ port: Number(new URL(scene.database.url).port) });
});
afterEach(async () => {
  await proxy[Symbol.asyncDispose]();
  await scene[Symbol.asyncDispose]();
  await files[Symbol.asyncDispose]();
});

const timing = { silenceMs: 200, answerWithinMs: 5_000 };
const BLACK_HOLE = { toServer: { kind: "blackhole" }, toClient: { kind: "blackhole" } } as const;

test("a host that vanishes during a replay ends it with what to do, and nothing is left", async () => {
  const progress = new LedgerProgress();
  const { url } = scene.database;
  const how = readingOf(proxy.url(url), { progress, timing });
  const ended = ledgerFromSlot({ ...how, slot: scene.parked }).then(
    () => null,
    (error: NeedsOperator) => error,
  );
  await until("it replays", async () => {
    return progress.slot !== null && (await copiesOf(scene.client, scene.parked)) === 1;
  });
  proxy.setAll(BLACK_HOLE);
  const began = performance.now();
  const error = await ended;
  // The query was waited for, or a look-up.
  expect(error?.message).toMatch(
    /^history was not read: (the server has gone silent|Query read timeout)$/,
  );
  expect(error?.hint).toMatch(/run it again/);
  // Two looks, a wait for the answer, and a goodbye of 2 s to each session.
  expect(performance.now() - began).toBeLessThan(400 + timing.answerWithinMs + 4_000 + 4_000);
  expect(await files.left()).toEqual([]);
});

test("a query that goes on without a word is asked after, and left alone", async () => {
  const expected = await factsFromSlot(scene.database.url, scene.parked);
  await using ledger = await ledgerFromSlot({
    ...readingOf(scene.database.url, { timing }),
    slot: scene.parked,
  });
  expect(told(factsOf(ledger))).toEqual(told(expected));
});
