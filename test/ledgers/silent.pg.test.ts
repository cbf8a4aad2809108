// A server that goes silent while a slot is replayed: a host that vanished never answers, a server that decodes says nothing for long.

import { afterEach, beforeEach, expect, test } from "vitest";
import type { NeedsOperator } from "../../src/errors.ts";
import { ledgerFromSlot } from "../../src/pipeline/ledger-from-slot.ts";
import { type Link, type Proxy, startProxy } from "../faults/support/proxy.ts";
import { manyAgents } from "../standby/support/many.ts";
import { readingOf } from "./support/reading.ts";
import {
  type Files,
  type Scene,
  factsFromSlot,
  factsOf,
  openScene,
  ownTemporaryFolder,
  told,
} from "./support/scene.ts";

const timing = { silenceMs: 200, answerWithinMs: 3_000 };
/** Two looks, a wait for the answer, and a goodbye of 2 s to each session; the machine may be busy. */
const ENDS_WITHIN_MS = 400 + timing.answerWithinMs + 4_000 + 5_000;
const BLACK_HOLE = { toServer: { kind: "blackhole" }, toClient: { kind: "blackhole" } } as const;

const isReading = (message: string): boolean =>
  message.includes("copy (") && message.includes("pg_logical_slot_peek_binary_changes");
const isAsking = (message: string): boolean => message.includes("pg_stat_activity where pid");
/** A look-up, while a query of the reading goes on. */
const LOOK_UP = "as wanted (agent, resource)";

let files: Files;
let scene: Scene;
let proxy: Proxy;
let onMessage: (message: string, link: Link) => Promise<void> | void;
beforeEach(async () => {
  files = await ownTemporaryFolder();
  scene = await openScene({ seed: 3, history: 10 });
  await scene.simulation.run({ workflows: 60 });
  onMessage = () => undefined;
  proxy = await startProxy({
    port: Number(new URL(scene.database.url).port),
    async onMessage(message, link) {
      await onMessage(message.toString("latin1"), link);
      return message;
    },
  });
});
afterEach(async () => {
  await proxy[Symbol.asyncDispose]();
  await scene[Symbol.asyncDispose]();
  await files[Symbol.asyncDispose]();
});

const read = async (): ReturnType<typeof ledgerFromSlot> => {
  const options = readingOf(proxy.url(scene.database.url), { timing });
  return ledgerFromSlot({ ...options, slot: scene.parked });
};

/** What it ended with, within its time, and with nothing left. */
async function failure(): Promise<NeedsOperator> {
  const began = performance.now();
  const error = await read().then(
    () => Promise.reject(new Error("it did not fail")),
    (reason: NeedsOperator) => reason,
  );
  expect(performance.now() - began).toBeLessThan(ENDS_WITHIN_MS);
  expect(await files.left()).toEqual([]);
  return error;
}

test.each(["pg_copy_logical", "pg_logical_slot_peek_binary_changes", "copy (", LOOK_UP])(
  "a host that vanishes when it is asked for %s ends the replay with what to do",
  async (what) => {
    // After the first batch there is more than the network takes at once.
    await manyAgents(scene.client);
    onMessage = (message) => {
      if (message.includes(what)) proxy.setAll(BLACK_HOLE);
    };
    const error = await failure();
    expect(error).toMatchObject({ name: "NeedsOperator", reason: "no_answer" });
    expect(error.hint).toContain("gave no answer in time");
  },
);

test("a query that was lost with its connection is not waited for", async () => {
  onMessage = (message, link) => {
    if (isReading(message)) link.set({ toClient: { kind: "blackhole" } });
  };
  const error = await failure();
  expect(error).toMatchObject({ name: "NeedsOperator", reason: "silence" });
  expect(error.message).toBe("history was not read: the server has gone silent");
});

test("a query that goes on without a word is asked after, and left alone", async () => {
  const expected = await factsFromSlot(scene.database.url, scene.parked);
  let [asked, locked] = [0, false];
  onMessage = async (message) => {
    if (isAsking(message)) asked += 1;
    if (asked > 2 && locked) {
      locked = false;
      await scene.client.query("commit");
    }
    if (!isReading(message) || asked > 0) return;
    // Decoding waits for it.
    await scene.client.query("begin; lock table pg_publication in access exclusive mode");
    locked = true;
  };
  await using ledger = await read();
  expect(asked).toBeGreaterThan(2);
  expect(told(factsOf(ledger))).toEqual(told(expected));
});
