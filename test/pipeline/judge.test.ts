// Each row of the decision table: may the stream be followed from where the store stands?

import { describe, expect, test } from "vitest";
import { NeedsOperator, Transient } from "../../src/errors.ts";
import { parseLsn } from "../../src/lsn.ts";
import { type Observed, judge, sharedUpTo } from "../../src/pipeline/judge.ts";
import type { SlotState } from "../../src/postgres/slot.ts";
import type { Position } from "../../src/store/position.ts";

const POSITION: Position = {
  systemId: "7412345678901234567",
  timeline: 1,
  server: "10.0.0.1:5432",
  database: "coder",
  slot: "firstlight",
  publication: "16401:99",
  consistent: parseLsn("0/10"),
  end: parseLsn("A/10"),
};

const SLOT: SlotState = {
  plugin: "pgoutput",
  database: "coder",
  activePid: 42,
  temporary: false,
  confirmed: POSITION.end,
  walStatus: "reserved",
  invalidation: null,
  retainedBytes: 0,
  safeBytes: null,
  catalogXminAge: null,
};

const FOUND: Observed = {
  system: { systemId: POSITION.systemId, timeline: 1 },
  forkedAt: null,
  address: POSITION.server,
  serverEnd: parseLsn("FF/0"),
  standby: false,
  slot: SLOT,
  slotName: "firstlight",
  database: "coder",
  publication: "16401:99",
};

const PROMOTED = { systemId: POSITION.systemId, timeline: 2 };

const follow = { kind: "follow" };

describe("follows", () => {
  test.each([
    ["a slot at the stored position", FOUND],
    ["a slot behind it", { ...FOUND, slot: { ...SLOT, confirmed: parseLsn("9/FFFFFFFF") } }],
    [
      "a slot that only threatens to be lost",
      { ...FOUND, slot: { ...SLOT, walStatus: "unreserved" } },
    ],
    ["a server that has just what the store has", { ...FOUND, serverEnd: POSITION.end }],
    ["the slot on another server", { ...FOUND, address: "10.0.0.2:5432" }],
    [
      "a timeline that left ours at the store's position",
      { ...FOUND, system: PROMOTED, forkedAt: POSITION.end },
    ],
  ])("%s", (_name, found) => {
    expect(judge(POSITION, found)).toEqual(follow);
  });
});

describe("sees a gap", () => {
  const gaps: readonly (readonly [string, string, Partial<Observed>])[] = [
    ["a primary behind the store", "server_behind", { serverEnd: parseLsn("A/F") }],
    ["no slot", "slot_missing", { slot: null }],
    ["a lost slot", "slot_lost", { slot: { ...SLOT, walStatus: "lost" } }],
    ["an invalidated slot", "slot_lost", { slot: { ...SLOT, invalidation: "rows_removed" } }],
    ["another slot", "slot_changed", { slotName: "firstlight_2" }],
    ["another database", "slot_changed", { database: "coder_copy" }],
    ["a slot one byte ahead", "slot_ahead", { slot: { ...SLOT, confirmed: parseLsn("A/11") } }],
    ["another publication", "publication_changed", { publication: "16402:120" }],
    ["no publication", "publication_changed", { publication: "" }],
    ["a timeline that never was ours", "timeline_changed", { system: PROMOTED }],
    [
      "a timeline that left ours one byte before the store, even where the slot stands beyond: anybody may have made it there",
      "timeline_changed",
      { system: PROMOTED, forkedAt: parseLsn("A/F") },
    ],
    [
      "no slot on another server after a failover",
      "slot_missing",
      { slot: null, address: "10.0.0.2:5432", system: PROMOTED, forkedAt: POSITION.end },
    ],
  ];

  test.each(gaps)("%s: %s", (_name, reason, found) => {
    expect(judge(POSITION, { ...FOUND, ...found })).toMatchObject({ kind: "gap", reason });
  });

  test("and says what it found", () => {
    const slot = { ...SLOT, confirmed: parseLsn("10/0") };
    expect(judge(POSITION, { ...FOUND, slot })).toMatchObject({
      detail: "the slot is at 10/0, the store at A/10",
    });
  });

  test("positions are compared as numbers, not as texts", () => {
    expect(kindAt("10/0", "9/0")).toBe("follow");
    expect(kindAt("9/0", "10/0")).toBe("gap");
  });
});

describe("up to where a history is shared", () => {
  const behind = { ...SLOT, confirmed: parseLsn("9/0") };

  test.each([
    ["the same timeline: up to the slot", { slot: behind }, "9/0"],
    [
      "a server behind its slot: up to the server",
      { slot: behind, serverEnd: parseLsn("8/0") },
      "8/0",
    ],
    ["no slot: up to the server", { slot: null, serverEnd: parseLsn("A/0") }, "A/0"],
    [
      "a timeline that left ours: up to the fork",
      { system: PROMOTED, forkedAt: parseLsn("9/5") },
      "9/5",
    ],
    [
      "a timeline that never was ours: up to the slot, which we confirmed",
      { system: PROMOTED, slot: behind },
      "9/0",
    ],
    [
      "a timeline that never was ours, without a slot: nowhere",
      { system: PROMOTED, slot: null },
      "0/0",
    ],
  ])("%s", (_name, found, expected) => {
    expect(sharedUpTo(POSITION, { ...FOUND, ...found })).toBe(parseLsn(expected));
  });
});

test("no slot on another server of the same timeline is a load balancer: refused, with both addresses", () => {
  const found = { ...FOUND, slot: null, address: "10.0.0.2:5432" };
  expect(() => judge(POSITION, found)).toThrow(NeedsOperator);
  expect(() => judge(POSITION, found)).toThrow(/10\.0\.0\.2:5432.*10\.0\.0\.1:5432/);
  expect(judge({ ...POSITION, server: "" }, found)).toMatchObject({ reason: "slot_missing" });
  expect(judge(POSITION, { ...found, address: "" })).toMatchObject({ reason: "slot_missing" });
});

test("a standby that replays behind the store is waited for, without a gap", () => {
  expect(() => judge(POSITION, { ...FOUND, standby: true, serverEnd: parseLsn("A/F") })).toThrow(
    Transient,
  );
});

test("another system is refused with both ids, whatever else was found", () => {
  const system = { systemId: "7400000000000000000", timeline: 1 };
  for (const slot of [SLOT, null]) {
    const found = { ...FOUND, system, slot };
    expect(() => judge(POSITION, found)).toThrow(NeedsOperator);
    expect(() => judge(POSITION, found)).toThrow(/7412345678901234567.*7400000000000000000/);
  }
});

function kindAt(end: string, confirmed: string): string {
  return judge(
    { ...POSITION, end: parseLsn(end) },
    { ...FOUND, slot: { ...SLOT, confirmed: parseLsn(confirmed) } },
  ).kind;
}
