// The status as people and tests read it.

import { expect, test } from "vitest";
import { statusOf } from "../../src/http/status.ts";
import { ZERO_LSN, toLsn } from "../../src/lsn.ts";
import { Vitals } from "../../src/metrics/vitals.ts";

test("a stream that has received nothing yet has no position, and the status is still JSON", () => {
  const vitals = new Vitals();
  vitals.received = ZERO_LSN;
  vitals.applied = ZERO_LSN;
  vitals.durable = toLsn(0x1_0000_0010n);
  expect(JSON.parse(JSON.stringify(statusOf(vitals, "test")))).toMatchObject({
    received: null,
    applied: null,
    durable: "1/10",
  });
});

test("a baseline is said, whether totals are shown meanwhile or not", () => {
  const vitals = new Vitals();
  const state = (): string => statusOf(vitals, "test").state;
  expect(state()).toBe("starting");
  vitals.baseline = { builds: 0, agents: 0 };
  expect(state()).toBe("reading the tables");
  vitals.ready = true;
  expect(state()).toBe("reading the tables");
  vitals.baseline = null;
  expect(state()).toBe("not following");
});
