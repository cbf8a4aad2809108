// A socket that rests after small reads, and is closed while the consumer is behind: one never opens what the other closed.

import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { Tap } from "../../src/postgres/tap.ts";

const LITTLE = 100;
const MUCH = 1 << 16;

function socket(): { flows: boolean; pause(): void; resume(): void } {
  return {
    flows: true,
    pause() {
      this.flows = false;
    },
    resume() {
      this.flows = true;
    },
  };
}

test("after a small read the socket rests, and then flows by itself", async () => {
  const at = socket();
  new Tap(at).read(LITTLE);
  expect(at.flows).toBe(false);
  await sleep(20);
  expect(at.flows).toBe(true);
});

test("after a large read there is more at once", () => {
  const at = socket();
  new Tap(at).read(MUCH);
  expect(at.flows).toBe(true);
});

test("the end of a rest does not open what the consumer has closed", async () => {
  const at = socket();
  const tap = new Tap(at);
  tap.read(LITTLE);
  tap.close();
  await sleep(20);
  expect([at.flows, tap.closed]).toEqual([false, true]);
  tap.open();
  expect([at.flows, tap.closed]).toEqual([true, false]);
});

test("opening does not cut a rest short", async () => {
  const at = socket();
  const tap = new Tap(at);
  tap.close();
  tap.read(LITTLE);
  tap.open();
  expect(at.flows).toBe(false);
  await sleep(20);
  expect(at.flows).toBe(true);
});
