// Starts: when all agents of a build are ready, how that went, and what is told of it afterwards. Upstream's own cases
// (coderd/agentapi/lifecycle_test.go, GetWorkspaceBuildMetricsByResourceID) and those that it lacks.

import { describe, expect, test } from "vitest";
import { PREBUILDS_USER, type AgentRow, type Uuid } from "../../src/change/row.ts";
import { SECOND } from "../../src/change/micros.ts";
import { startOf } from "../../src/change/start.ts";
import type { Ready, Sighting } from "../../src/derive/fact.ts";
import type { AgentEvent, Event } from "../../src/derive/step.ts";
import { CATALOG } from "../support/folding.ts";
import { MemoryState } from "../support/memory-state.ts";
import {
  AGENT_NAMES,
  END,
  START,
  TIMES,
  after,
  agentRow,
  buildEvent,
  jobRow,
  pendingStart,
  ready,
  uuid,
} from "../support/rows.ts";

const begun = buildEvent();
const built: Event = {
  row: jobRow({ worker: uuid(9), startedAt: after(5), completedAt: after(30) }),
  end: END,
};
const [A, B] = [uuid(5), uuid(50)];

const row = (id: Uuid, given: Partial<AgentRow> = {}): AgentRow =>
  agentRow({ id, createdAt: after(30), firstConnectedAt: after(40), ...given });
const born = (id: Uuid, given: Partial<AgentRow> = {}, times = TIMES): AgentEvent => ({
  row: row(id, { firstConnectedAt: null, ...given }),
  end: END,
  names: AGENT_NAMES,
  times,
});
/** `now`: what the tables say of this build's agents by now. Default: of this one, as it says. */
const tells = (id: Uuid, given: Partial<AgentRow>, now?: readonly AgentRow[]): AgentEvent => {
  const told = row(id, { isNew: false, ...given });
  const agents = (now ?? [told]).map((agent) => ({ id: agent.id, start: startOf(agent) }));
  const start = { job: TIMES.job, createdAt: START, agents };
  return { row: told, end: END, names: null, times: null, start };
};
const over = (lifecycle: string, seconds: number): Partial<AgentRow> => ({
  lifecycle,
  readyAt: after(seconds),
});
const starting = { lifecycle: "starting", readyAt: null };

function after30(...agents: readonly AgentEvent[]): MemoryState {
  const state = new MemoryState(CATALOG);
  state.take([begun, built, ...agents]);
  return state;
}

/** The starts that these events, one batch each, bring about. */
const starts = (state: MemoryState, ...events: readonly Event[]): readonly Ready[] =>
  events.flatMap((event) => state.take([event]).filter((fact) => fact.kind === "ready"));

const briefly = (facts: readonly Ready[]): string[] =>
  facts.map(({ status, took }) => `${status} ${took / SECOND}`);

const seen = (state: MemoryState, ...events: readonly Event[]): readonly Sighting[] =>
  state.stage(events).sightings.filter(({ kind }) => kind === "ready");

describe("a start", () => {
  test("of one agent that is ready 90 s after the build's creation took 90 s exactly", () => {
    const facts = starts(after30(born(A)), tells(A, over("ready", 90)));
    expect(facts).toEqual([ready({ took: 90 * SECOND, at: START + 90 * SECOND })]);
  });

  test("waits for the last of its agents, whose clock it ends by", () => {
    const state = after30(born(A), born(B));
    expect(starts(state, tells(A, over("ready", 90)))).toEqual([]);
    expect([...state.entities()].filter(({ kind }) => kind === "start")).toEqual([
      pendingStart({
        agents: [
          { id: A, start: { at: after(90), status: "success" } },
          { id: B, start: null },
        ],
      }),
    ]);
    expect(briefly(starts(state, tells(B, over("ready", 75))))).toEqual(["success 90"]);
    expect([...state.entities()].some(({ kind }) => kind === "start")).toBe(false);
  });

  test("is none while one of two is never ready", () => {
    const state = after30(born(A), born(B));
    expect(starts(state, tells(A, over("ready", 90)), tells(B, starting))).toEqual([]);
  });

  test.each([
    [["ready", "ready"], "success"],
    [["ready", "start_timeout"], "timeout"],
    [["start_error", "start_timeout"], "error"],
    [["start_error", "ready"], "error"],
  ])("of agents that are %s is a %s", (states, status) => {
    const state = after30(born(A), born(B));
    const facts = states.flatMap((lifecycle, n) =>
      starts(state, tells(n === 0 ? A : B, over(lifecycle, 60 + n))),
    );
    expect(briefly(facts)).toEqual([`${status} 61`]);
  });

  test("by the prebuilds user has that as its trait", () => {
    const state = new MemoryState(CATALOG);
    state.take([buildEvent({ initiator: PREBUILDS_USER }), built, born(A)]);
    expect(starts(state, tells(A, over("ready", 90)))).toMatchObject([
      { traits: { prebuild: true } },
    ]);
  });

  test("does not wait for sub-agents, and is not made by one that is ready an hour later", () => {
    const parent = { parent: A };
    const state = after30(born(A), born(B, parent));
    expect(briefly(starts(state, tells(A, over("ready", 90))))).toEqual(["success 90"]);
    expect(starts(state, tells(B, { ...parent, ...over("ready", 3_690) }))).toEqual([]);
    const alone = after30(born(B, parent));
    expect(starts(alone, tells(B, { ...parent, ...over("ready", 90) }))).toEqual([]);
  });

  test("counts an agent that is deleted, as Coder's query does", () => {
    const state = after30(born(A), born(B, { deleted: true }));
    expect(starts(state, tells(A, over("ready", 90)))).toEqual([]);
    const facts = starts(state, tells(B, { ...over("ready", 95), deleted: true }));
    expect(briefly(facts)).toEqual(["success 95"]);
  });

  test("that ends before its build was created, by an agent's clock, is a fact all the same", () => {
    const facts = starts(after30(born(A)), tells(A, over("ready", -1)));
    expect(briefly(facts)).toEqual(["success -1"]);
  });

  test("is told once, whatever states an agent walks through", () => {
    const walk = [
      { lifecycle: "created", readyAt: null },
      starting,
      over("start_timeout", 90),
      over("start_error", 100),
      over("ready", 110),
      ...["shutting_down", "shutdown_timeout", "shutdown_error", "off"].map((state) =>
        over(state, 110),
      ),
    ];
    const facts = starts(after30(born(A)), ...walk.map((state) => tells(A, state)));
    expect(briefly(facts)).toEqual(["timeout 90"]);
  });

  test("is no other build: older releases make agents for stops, which nobody runs", () => {
    const stop = { ...TIMES, transition: "stop" };
    const state = new MemoryState(CATALOG);
    state.take([buildEvent({ transition: "stop" }), built, born(A, {}, stop)]);
    expect([...state.entities()].some(({ kind }) => kind === "start")).toBe(false);
    expect(starts(state, tells(A, over("ready", 90)))).toEqual([]);
  });

  test.each([
    ["a state that this version does not know", over("hibernating", 90)],
    ["one that ends a start, but no time", { lifecycle: "ready", readyAt: null }],
    ["a time, but the state of one that has not begun", over("created", 90)],
  ])("is not over with %s", (_what, given) => {
    expect(starts(after30(born(A)), tells(A, given))).toEqual([]);
  });

  test("is not complete with an agent that is born ready before its fellows are told", () => {
    const state = after30();
    expect(starts(state, born(A, over("ready", 31)), born(B))).toEqual([]);
    expect(briefly(starts(state, tells(B, over("ready", 40))))).toEqual(["success 40"]);
  });

  test("of agents that nobody saw being born is none", () => {
    expect(starts(after30(), tells(A, over("ready", 90)))).toEqual([]);
  });

  test("is waited for no more when its job is gone", () => {
    const state = after30(born(A));
    state.take([{ row: { kind: "gone", table: "provisioner_jobs", id: TIMES.job }, end: END }]);
    expect([...state.entities()].some(({ kind }) => kind === "start")).toBe(false);
  });
});

describe("a start that timed out", () => {
  test("before its fellow was ready, and was over then, was well", () => {
    const state = after30(born(A), born(B));
    const facts = starts(
      state,
      tells(A, over("start_timeout", 60)),
      tells(A, over("ready", 80)),
      tells(B, over("ready", 70)),
    );
    expect(briefly(facts)).toEqual(["success 80"]);
  });

  test("is counted as such, and waits on: that it is over after all is seen", () => {
    const state = after30(born(A));
    expect(briefly(starts(state, tells(A, over("start_timeout", 60))))).toEqual(["timeout 60"]);
    expect([...state.entities()].some(({ kind }) => kind === "start")).toBe(true);
    const late = tells(A, over("ready", 80));
    expect(seen(state, late)).toEqual([
      { kind: "ready", id: TIMES.job, at: after(80), took: 80 * SECOND, status: "success" },
    ]);
    expect(starts(state, late)).toEqual([]);
    expect([...state.entities()].some(({ kind }) => kind === "start")).toBe(false);
  });
});

describe("an agent that starts once more", () => {
  test("takes back what was told, and tells it anew, but is counted no second time", () => {
    const state = after30(born(A));
    starts(state, tells(A, over("ready", 90)));
    expect(seen(state, tells(A, starting))).toEqual([{ kind: "ready", id: TIMES.job, at: null }]);
    expect(seen(state, tells(A, over("ready", 4_000)))).toMatchObject([{ at: after(4_000) }]);
    expect(starts(state, tells(A, starting), tells(A, over("ready", 4_000)))).toEqual([]);
  });

  test("while its fellow still starts has been ready all the same, and the tables say otherwise", () => {
    const state = after30(born(A), born(B));
    starts(state, tells(A, over("ready", 60)), tells(A, starting));
    const last = tells(B, over("ready", 70), [row(A, starting), row(B, over("ready", 70))]);
    expect(seen(state, last)).toEqual([{ kind: "ready", id: TIMES.job, at: null }]);
    expect(briefly(starts(state, last))).toEqual(["success 70"]);
  });

  test("an older row that is told again changes nothing", () => {
    const state = after30(born(A), born(B));
    starts(state, tells(A, over("start_timeout", 60)), tells(A, over("ready", 80)));
    starts(state, tells(A, over("start_timeout", 60)), tells(A, starting), born(A));
    expect(briefly(starts(state, tells(B, over("ready", 70))))).toEqual(["success 80"]);
    expect(starts(state, born(A), born(B))).toEqual([]);
    expect([...state.entities()].some(({ kind }) => kind === "start")).toBe(false);
  });
});

/** As tables tell it. */
const told = (id: Uuid, given: Partial<AgentRow>): AgentEvent => ({
  ...born(id, given),
  fromTables: true,
});

describe("tables", () => {
  const builds: Event[] = [{ ...begun, fromTables: true }, built];
  const read = (state: MemoryState, ...agents: readonly AgentEvent[]): readonly Ready[] =>
    state.takeTables([builds, ...agents.map((agent) => [agent])]).filter((f) => f.kind === "ready");

  test("tell a start when all its agents are told, in any order", () => {
    const [one, other] = [told(A, over("ready", 90)), told(B, over("start_error", 70))];
    for (const agents of [
      [one, other],
      [other, one],
    ])
      expect(briefly(read(new MemoryState(CATALOG), ...agents))).toEqual(["error 90"]);
  });

  test("leave what is not over to the stream", () => {
    const state = new MemoryState(CATALOG);
    expect(read(state, told(A, over("ready", 90)), told(B, starting))).toEqual([]);
    expect(briefly(starts(state, tells(B, over("ready", 70))))).toEqual(["success 90"]);
  });

  test("that are read again keep what the ledger knows of an agent that starts once more", () => {
    const state = after30(born(A), born(B));
    starts(state, tells(A, over("ready", 60)));
    expect(read(state, told(A, starting), told(B, starting))).toEqual([]);
    expect(briefly(starts(state, tells(B, over("ready", 70))))).toEqual(["success 70"]);
  });

  test("without an agent that was deleted by hand tell the start of those that are left", () => {
    const state = after30(born(A), born(B));
    expect(briefly(read(state, told(A, over("ready", 60))))).toEqual(["success 60"]);
    expect([...state.entities()].some(({ kind }) => kind === "start")).toBe(false);
  });

  test("count an agent that has shut down since as well, unless another one failed", () => {
    const off = told(A, over("off", 60));
    expect(briefly(read(new MemoryState(CATALOG), off))).toEqual(["success 60"]);
    const failed = told(B, over("start_error", 50));
    expect(briefly(read(new MemoryState(CATALOG), off, failed))).toEqual(["error 60"]);
    expect(read(new MemoryState(CATALOG), told(A, { lifecycle: "off", readyAt: null }))).toEqual(
      [],
    );
  });
});
