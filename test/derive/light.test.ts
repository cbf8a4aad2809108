// Time to first light: which agents have one, what is frozen when, and that its parts add up.

import { describe, expect, test } from "vitest";
import { PREBUILDS_USER } from "../../src/change/row.ts";
import { SECOND } from "../../src/change/micros.ts";
import type { Connected, Fact, Light } from "../../src/derive/fact.ts";
import { type BuildTimes, phasesOf } from "../../src/derive/light.ts";
import type { Event } from "../../src/derive/step.ts";
import { CATALOG } from "../support/folding.ts";
import { MemoryState } from "../support/memory-state.ts";
import {
  AGENT_NAMES,
  END,
  LIGHT,
  TIMES,
  TRAITS,
  WORKSPACE,
  after,
  agentRow,
  buildEvent,
  jobRow,
  pendingAgent,
  uuid,
} from "../support/rows.ts";

const begun = buildEvent();
const job = (given: Parameters<typeof jobRow>[0] = {}): Event => ({
  row: jobRow({ worker: uuid(9), startedAt: after(5), completedAt: after(30), ...given }),
  end: END,
});
const born = (
  given: Parameters<typeof agentRow>[0] = {},
  times: BuildTimes | null = TIMES,
): Event => ({
  row: agentRow({ createdAt: after(30), ...given }),
  end: END,
  names: AGENT_NAMES,
  times,
});
const connects = (at: number): Event => ({
  row: agentRow({ isNew: false, createdAt: after(30), firstConnectedAt: at }),
  end: END,
  names: null,
  times: null,
});

/** What the connections among the facts of these events, one batch each, say of the way to them. */
function lights(...batches: readonly (readonly Event[])[]): readonly (Light | null)[] {
  const state = new MemoryState(CATALOG);
  const facts = batches.flatMap((events): readonly Fact[] => state.take(events));
  return facts
    .filter((fact): fact is Connected => fact.kind === "connected")
    .map(({ light }) => light);
}

describe("an agent of a start", () => {
  test("waits with what its build took, and connects with it", () => {
    const state = new MemoryState(CATALOG);
    state.take([begun, job(), born()]);
    const waits = [...state.entities()].filter(({ kind }) => kind === "agent");
    const frozen = { workspace: WORKSPACE, light: LIGHT };
    expect(waits).toEqual([pendingAgent({ createdAt: after(30), ...frozen })]);
    expect(state.take([connects(after(37))])).toMatchObject([frozen]);
  });

  test("has it whether its build ended in the same batch, in an earlier one, or it is read connected", () => {
    const connected = born({ firstConnectedAt: after(37) });
    expect(lights([begun, job(), born(), connects(after(37))])).toEqual([LIGHT]);
    expect(lights([begun], [job()], [born()], [connects(after(37))])).toEqual([LIGHT]);
    expect(lights([begun, job()], [connected])).toEqual([LIGHT]);
  });

  test("keeps what it was born with, and has one light however often it connects", () => {
    const later = { ...TIMES, completedAt: after(400) };
    expect(
      lights(
        [begun, job(), born()],
        [born({}, later)],
        [connects(after(37)), connects(after(90)), born({ firstConnectedAt: after(37) }, later)],
      ),
    ).toEqual([LIGHT]);
  });

  test.each([
    ["a first build", {}, {}, TRAITS],
    ["a restart", { number: 3 }, {}, { ...TRAITS, initial: false }],
    ["a prebuild", { initiator: PREBUILDS_USER }, {}, { ...TRAITS, prebuild: true }],
    [
      "a claim",
      { number: 2 },
      { claimed: "large" },
      { ...TRAITS, initial: false, claimed: "large" },
    ],
  ])("%s: the traits are those that the ledger has of the build", (_what, row, more, traits) => {
    const events = [buildEvent(row, more), job(), born({ firstConnectedAt: after(37) })];
    expect(lights(events)).toEqual([{ ...LIGHT, traits }]);
  });

  test("also where the reaper had failed the build: its times are those of the completion", () => {
    const reaped = job({ completedAt: after(20), failed: true });
    const [light] = lights([begun, reaped], [job()], [born({ firstConnectedAt: after(37) })]);
    expect(light).toEqual(LIGHT);
  });
});

describe("no light", () => {
  const connected = { firstConnectedAt: after(37) };
  test.each<[string, readonly Event[]]>([
    ["a sub-agent", [begun, job(), born({ ...connected, parent: uuid(50) })]],
    ["an agent of a stop", [buildEvent({ transition: "stop" }), job(), born(connected)]],
    [
      "a build that no provisioner had",
      [begun, job(), born(connected, { ...TIMES, startedAt: null })],
    ],
    [
      "a build that has not ended",
      [begun, job(), born(connected, { ...TIMES, completedAt: null })],
    ],
    ["a build whose end is not in the ledger", [begun, born(connected)]],
    ["a build that is not in the ledger", [job(), born(connected)]],
    ["an agent whose build is gone", [begun, job(), born(connected, null)]],
  ])("%s: counted as a connection, and no more", (_what, events) => {
    expect(lights(events)).toEqual([null]);
  });

  test("and none later, when the agent connects after its build is known at last", () => {
    expect(lights([born()], [begun, job()], [connects(after(37))])).toEqual([null]);
  });
});

describe("phases", () => {
  test("the first three add up to the last", () => {
    const phases = phasesOf(LIGHT, after(37.000_001));
    expect(phases).toEqual({
      queue: 5 * SECOND,
      provision: 25 * SECOND,
      connect: 7 * SECOND + 1,
      total: 37 * SECOND + 1,
    });
  });

  test("of times at both ends of the calendar can be stored", () => {
    const [least, most] = [-Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER];
    const times = { ...TIMES, createdAt: least, startedAt: most, completedAt: least };
    const [light] = lights([begun, job(), born({ firstConnectedAt: most }, times)]);
    if (!light) throw new Error("no light");
    expect([light.queued, light.provisioned]).toEqual([most, least]);
    expect(phasesOf(light, most)).toMatchObject({ connect: most, total: most });
  });
});
