import { describe, expect, test } from "vitest";
import { SECOND } from "../../src/change/micros.ts";
import { PREBUILDS_USER, type JobRow } from "../../src/change/row.ts";
import { isFirstBuild } from "../../src/derive/fact.ts";
import { Unordered } from "../../src/derive/unordered.ts";
import type { Entity } from "../../src/derive/state.ts";
import { endingOf, mayClaim } from "../../src/derive/step.ts";
import { createCatalog } from "../../src/metrics/catalog.ts";
import { AGENT_LABELS } from "../../src/metrics/families/agents.ts";
import { MemoryState } from "../support/memory-state.ts";
import {
  AGENT_NAMES,
  END,
  NAMES,
  START,
  after,
  TRAITS,
  agentRow,
  attempted,
  buildEvent,
  buildRow,
  connected,
  created,
  ended,
  jobRow,
  pendingAgent,
  pendingBuild,
  uuid,
} from "../support/rows.ts";

const CATALOG = createCatalog({ agentLabels: AGENT_LABELS });
const WORKER = uuid(0x3041);
const nothing = { facts: [], sightings: [], put: [], drop: [] };

const begun = buildEvent();
const agentBorn = { row: agentRow(), end: END, names: AGENT_NAMES, times: null };
const job = (given: Partial<JobRow>) => ({ row: jobRow(given), end: END });
const agentConnects = (at: number) => ({
  row: agentRow({ isNew: false, firstConnectedAt: at }),
  end: END,
  names: null,
  times: null,
});

const waits = ({ kind }: Entity): boolean => kind !== "workspace";

/** What the events lead to, after the `before` ones were committed; for what becomes of workspaces see workspace.test.ts. */
function outcome(
  events: Parameters<MemoryState["stage"]>[0],
  before: Parameters<MemoryState["stage"]>[0] = [],
) {
  const state = new MemoryState(CATALOG);
  state.take(before);
  const { facts, sightings, put, drop } = state.stage(events);
  return { facts, sightings, put: put.filter(waits), drop: drop.filter(waits) };
}

describe("builds", () => {
  test("the first start of a workspace by a person is an attempt that waits for its job", () => {
    expect(outcome([begun])).toEqual({ ...nothing, facts: [attempted()], put: [pendingBuild()] });
    expect(isFirstBuild(TRAITS)).toBe(true);
  });

  test.each([
    ["a prebuild", { initiator: PREBUILDS_USER }, { prebuild: true }],
    ["a stop", { transition: "stop" }, { transition: "stop" }],
    ["a delete", { transition: "delete" }, { transition: "delete" }],
    ["a transition that is not known", { transition: "hibernate" }, { transition: "hibernate" }],
    ["a second build", { number: 2, reason: "autostart" }, { initial: false, reason: "autostart" }],
  ] as const)("%s is an attempt like any other, but no first build", (_name, given, also) => {
    const build = { traits: { ...TRAITS, ...also }, number: "number" in given ? given.number : 1 };
    expect(isFirstBuild(build.traits)).toBe(false);
    const put = [pendingBuild(build)];
    expect(outcome([buildEvent(given)])).toEqual({
      ...nothing,
      facts: [attempted(build)],
      put,
    });
  });

  test("a claim is told by what was looked up, and only of a start that may be one", () => {
    const { facts } = outcome([buildEvent({ number: 2 }, { claimed: "large" })]);
    expect(facts).toMatchObject([{ traits: { claimed: "large", initial: false } }]);
    expect(mayClaim(buildRow({ number: 2 }))).toBe(true);
    for (const given of [
      {},
      { number: 2, transition: "stop" },
      { number: 2, initiator: PREBUILDS_USER },
    ] as const)
      expect(mayClaim(buildRow(given))).toBe(false);
  });

  test("a build that is known is a sighting and changes nothing, not even its names", () => {
    const renamed = { ...begun, names: { ...NAMES, template: "renamed" } };
    const seen = {
      ...nothing,
      sightings: [{ kind: "attempted", id: begun.row.id, at: begun.row.createdAt }],
    };
    expect(outcome([renamed], [begun])).toEqual(seen);
    expect(outcome([renamed], [begun, job({ completedAt: after(30) })])).toEqual(seen);
  });
});

describe("outcomes", () => {
  const cases: readonly (readonly [string, Partial<JobRow>, ReturnType<typeof endingOf>])[] = [
    ["completed", { worker: WORKER }, { status: "success", stage: "", errorCode: "" }],
    [
      "an error in a provisioner",
      { worker: WORKER, failed: true },
      { status: "failure", stage: "provisioner", errorCode: "other" },
    ],
    [
      "an error with a code",
      { worker: WORKER, failed: true, errorCode: "REQUIRED_TEMPLATE_VARIABLES" },
      { status: "failure", stage: "provisioner", errorCode: "REQUIRED_TEMPLATE_VARIABLES" },
    ],
    [
      "an empty code",
      { worker: WORKER, failed: true, errorCode: "" },
      { status: "failure", stage: "provisioner", errorCode: "other" },
    ],
    [
      "the reaper, before a provisioner took it",
      { failed: true },
      { status: "failure", stage: "queue", errorCode: "other" },
    ],
    [
      "canceled while running, which Coder calls failed",
      { worker: WORKER, failed: true, canceledAt: after(20) },
      { status: "failure", stage: "provisioner", errorCode: "user_canceled" },
    ],
    [
      "canceled while running, with a code",
      { worker: WORKER, failed: true, canceledAt: after(20), errorCode: "X" },
      { status: "failure", stage: "provisioner", errorCode: "X" },
    ],
    [
      "canceled and then reaped in the queue",
      { failed: true, canceledAt: after(20) },
      { status: "failure", stage: "queue", errorCode: "user_canceled" },
    ],
    [
      "canceled while pending",
      { canceledAt: after(20) },
      { status: "canceled", stage: "", errorCode: "" },
    ],
    [
      "canceled but built anyway",
      { worker: WORKER, canceledAt: after(20) },
      { status: "canceled", stage: "", errorCode: "" },
    ],
  ];

  test.each(cases)("%s", (_name, given, ending) => {
    const done = job({ ...given, completedAt: after(30) });
    expect(outcome([done], [begun])).toEqual({
      ...nothing,
      facts: [ended(ending), ...(ending.status === "success" ? [created()] : [])],
      drop: [pendingBuild()],
    });
  });

  test("an outcome takes as long as a provisioner had the job; without one it takes nothing", () => {
    const [startedAt, completedAt] = [after(2), after(30)];
    const tookOf = (given: Partial<JobRow>) =>
      outcome([job({ startedAt, completedAt, ...given })], [begun]).facts.filter(
        ({ kind }) => kind === "ended",
      );
    expect(tookOf({ worker: WORKER })).toMatchObject([{ took: 28 * SECOND }]);
    expect(tookOf({ worker: WORKER, failed: true })).toMatchObject([{ took: 28 * SECOND }]);
    expect(tookOf({ worker: WORKER, completedAt: after(1) })).toMatchObject([{ took: -SECOND }]);
    // An orphan delete, and the reaper of a job that nobody took.
    expect(tookOf({ startedAt: completedAt })).toMatchObject([{ took: null }]);
    expect(tookOf({ worker: WORKER, startedAt: null })).toMatchObject([{ took: null }]);
  });

  test("a job that has not completed has no outcome, canceled or not", () => {
    for (const given of [{}, { startedAt: after(1) }, { canceledAt: after(20) }])
      expect(outcome([job(given)], [begun])).toEqual(nothing);
    const runs = job({ startedAt: after(1), worker: WORKER, canceledAt: after(20) });
    const { facts, drop } = outcome([runs], [begun]);
    expect([facts.map(({ kind }) => kind), drop]).toEqual([["started"], []]);
  });

  test("an outcome has the names of its attempt, in one batch or in two", () => {
    const done = job({ completedAt: after(30) });
    expect(outcome([begun, done])).toEqual({
      ...nothing,
      facts: [attempted(), ended(), created()],
    });
    expect(outcome([done], [begun]).facts).toEqual([ended(), created()]);
  });

  test("a repeated completion is a sighting, no second outcome", () => {
    const [first, second] = [job({ completedAt: after(30) }), job({ completedAt: after(31) })];
    const success = { kind: "ended", id: uuid(3), status: "success", stage: "", errorCode: "" };
    expect(outcome([second], [begun, first])).toEqual({
      ...nothing,
      sightings: [
        { ...success, at: after(31) },
        { kind: "created", id: uuid(2), number: 1, at: after(31) },
      ],
    });
    expect(outcome([begun, first, second]).facts).toHaveLength(3);
  });

  test("an end or a connection that is taken back is a sighting, and takes nothing back here", () => {
    const done = job({ completedAt: after(30) });
    expect(outcome([job({ isOpen: true })], [begun, done])).toEqual({
      ...nothing,
      sightings: [
        { kind: "ended", id: uuid(3), at: null },
        { kind: "created", id: uuid(2), at: null },
      ],
    });
    const alone = { row: agentRow({ isNew: false }), end: END, names: null, times: null };
    const { sightings, ...rest } = outcome([alone], [agentBorn, agentConnects(after(41.2))]);
    expect(sightings).toMatchObject([{ kind: "connected", at: null }]);
    expect(rest).toEqual({ facts: [], put: [], drop: [] });
  });

  test("a row of before the end, told again after a cut, takes nothing back", () => {
    const done = job({ completedAt: after(30) });
    const running = job({ startedAt: after(2), worker: WORKER });
    for (const again of [job({}), running, job({ canceledAt: after(20) })]) {
      const { sightings } = outcome([again], [begun, running, done]);
      expect(sightings.filter(({ kind }) => kind !== "started")).toEqual([]);
    }
  });

  test("a job that the reaper failed and that completes later stays a failure", () => {
    const reaped = job({ completedAt: after(30), failed: true, worker: WORKER });
    const late = job({ completedAt: after(400), worker: WORKER });
    const { facts, sightings } = outcome([reaped, late], [begun]);
    expect(facts).toMatchObject([
      { status: "failure", at: after(30) },
      { kind: "created", at: after(400) },
    ]);
    expect(sightings).toMatchObject([{ kind: "ended", status: "success", at: after(400) }]);
  });

  test("a job that nobody waits for is no outcome: of an import or a dry run", () => {
    const done = job({ completedAt: after(30) });
    expect(outcome([done]).facts).toEqual([]);
  });
});

/** Numbers of the builds that are found to have created a workspace. */
const creators = (events: Parameters<typeof outcome>[0], before: typeof events = []) =>
  outcome(events, before).facts.flatMap((fact) => (fact.kind === "created" ? [fact.number] : []));

describe("what creates a workspace", () => {
  const done = job({ completedAt: after(30) });
  const [second, third] = [2, 3].map((number) => {
    const row = { id: uuid(10 * number), job: uuid(10 * number + 1), number };
    return {
      begun: buildEvent(row),
      done: job({ id: row.job, completedAt: after(100 * number) }),
    };
  }) as [Part, Part];
  type Part = { begun: ReturnType<typeof buildEvent>; done: ReturnType<typeof job> };
  const failed = job({ completedAt: after(30), failed: true, worker: WORKER });

  test("is the first start that succeeds, whoever made it", () => {
    expect(creators([done], [begun])).toEqual([1]);
    expect(creators([begun, failed, second.begun, second.done, third.begun, third.done])).toEqual([
      2,
    ]);
    expect(creators([third.done], [begun, done, third.begun])).toEqual([]);
    const pool = buildEvent({ initiator: PREBUILDS_USER });
    expect(outcome([pool, done]).facts).toContainEqual(
      created({ traits: { ...TRAITS, prebuild: true } }),
    );
  });

  test("is no stop, no delete, and nothing that was canceled though it was built", () => {
    for (const transition of ["stop", "delete", "hibernate"])
      expect(creators([buildEvent({ transition }), done])).toEqual([]);
    expect(creators([begun, job({ completedAt: after(30), canceledAt: after(20) })])).toEqual([]);
  });

  test("is a reaped build that completes late, unless another one was first: then the tables say something else", () => {
    const late = job({ completedAt: after(400), worker: WORKER });
    expect(creators([late], [begun, failed])).toEqual([1]);
    const before = [begun, failed, second.begun, second.done];
    expect(new MemoryState(CATALOG).take([...before, late])).toHaveLength(5);
    const { sightings } = outcome([late], before);
    expect(sightings).toContainEqual({
      kind: "created",
      id: uuid(2),
      number: 1,
      at: after(400),
    });
    // A later one changes nothing, however often it is told.
    const again = outcome([second.done], [begun, done, second.begun, second.done]);
    expect(again.sightings).toMatchObject([{ kind: "ended" }]);
  });

  test("is the lowest that the tables tell of, in whichever order they are read", () => {
    const told = [third.begun, third.done, second.begun, second.done];
    expect(creators(told)).toEqual([3, 2]);
    /** What is certain after each of these batches, and what waits until the end. */
    const read = (ledger: MemoryState, ...batches: (typeof told)[]) => {
      const unordered = new Unordered(ledger, { empty: false });
      const certain = batches.flatMap((batch) => {
        const staged = ledger.stage(batch, unordered.state);
        unordered.hold(staged, []);
        return staged.facts.filter(({ kind }) => kind === "created");
      });
      const rest = [...unordered.release({ workspace: [], job: [] }, END)].flatMap(
        ({ facts }) => facts,
      );
      return [certain, rest.filter(({ kind }) => kind === "created")];
    };
    expect(read(new MemoryState(CATALOG), told)).toMatchObject([[], [{ number: 2 }]]);
    expect(read(new MemoryState(CATALOG), told, [begun, done])).toMatchObject([
      [{ number: 1 }],
      [],
    ]);
    const knows = new MemoryState(CATALOG);
    knows.take([begun, done]);
    expect(read(knows, told), "the ledger knows better").toEqual([[], []]);
  });
});

describe("agents", () => {
  test("a new agent of a workspace build waits, whoever started the build", () => {
    expect(outcome([agentBorn])).toEqual({ ...nothing, put: [pendingAgent()] });
  });

  test("its first connection is counted under the names of its birth", () => {
    expect(outcome([agentConnects(after(41.2))], [agentBorn])).toEqual({
      ...nothing,
      facts: [connected()],
      drop: [pendingAgent()],
    });
  });

  test("an agent of an import or dry run, which has no names, neither waits nor counts", () => {
    const imported = { ...agentBorn, names: null };
    expect(outcome([imported])).toEqual(nothing);
    expect(outcome([imported, agentConnects(after(41.2))]).facts).toEqual([]);
  });

  test("an agent that nobody knows is a sighting", () => {
    const took = Math.round(41.2 * SECOND);
    expect(outcome([agentConnects(after(41.2))])).toEqual({
      ...nothing,
      sightings: [{ kind: "connected", id: uuid(5), at: after(41.2), took }],
    });
  });

  test("a connection that was repeated, or flipped to another time, is a sighting", () => {
    for (const at of [after(41.2), after(43)]) {
      const { facts, sightings, drop } = outcome(
        [agentConnects(at)],
        [agentBorn, agentConnects(after(41.2))],
      );
      expect({ facts, drop }).toEqual({ facts: [], drop: [] });
      expect(sightings).toMatchObject([{ kind: "connected", at }]);
    }
  });

  test("an agent that is inserted connected, or read connected from the tables, is counted at once", () => {
    const row = agentRow({ firstConnectedAt: after(41.2) });
    expect(outcome([{ row, end: END, names: AGENT_NAMES, times: null }])).toEqual({
      ...nothing,
      facts: [connected()],
    });
  });

  test("an agent that connected does not begin to wait again when its birth is replayed", () => {
    expect(outcome([agentBorn], [agentBorn, agentConnects(after(41.2))])).toEqual(nothing);
    expect(outcome([agentBorn], [agentBorn])).toEqual(nothing);
  });

  test("a sub-agent counts like any other", () => {
    const row = agentRow({ id: uuid(50), parent: uuid(5), firstConnectedAt: after(2) });
    const { facts } = outcome([
      { row, end: END, names: { ...AGENT_NAMES, agent: "devcontainer" }, times: null },
    ]);
    expect(facts).toMatchObject([{ kind: "connected", id: uuid(50), took: 2 * SECOND }]);
  });

  test("the claim of a prebuild gives its machine a second agent and a second connection", () => {
    const claimed = { ...agentBorn, row: agentRow({ id: uuid(51), firstConnectedAt: after(90) }) };
    const { facts } = outcome([claimed], [agentBorn, agentConnects(after(41.2))]);
    expect(facts).toMatchObject([{ kind: "connected", id: uuid(51) }]);
  });

  test("clocks that disagree give a negative duration, which is a fact all the same", () => {
    const { facts } = outcome([agentConnects(after(-3))], [agentBorn]);
    expect(facts).toMatchObject([{ kind: "connected", took: -3 * SECOND }]);
  });

  test("times at both ends of the calendar give a duration that can be stored", () => {
    const row = agentRow({
      createdAt: -Number.MAX_SAFE_INTEGER,
      firstConnectedAt: Number.MAX_SAFE_INTEGER,
    });
    const { facts } = outcome([{ row, end: END, names: AGENT_NAMES, times: null }]);
    expect(facts).toMatchObject([{ took: Number.MAX_SAFE_INTEGER }]);
  });
});

describe("everything else", () => {
  test.each([
    ["workspace_builds", ["attempted"]],
    ["provisioner_jobs", ["ended", "started", "ran", "ready"]],
    ["workspace_agents", ["connected", "overdue"]],
  ] as const)("a row deleted from %s is seen as gone and takes nothing back", (table, kinds) => {
    const gone = { row: { kind: "gone", table, id: uuid(1) } as const, end: END };
    expect(outcome([gone], [begun, agentBorn])).toEqual({
      ...nothing,
      sightings: kinds.map((kind) => ({ kind, id: uuid(1), gone: true })),
    });
  });

  test("a template that can be built is offered once", () => {
    const offer = {
      row: { kind: "offer", id: uuid(7), at: START } as const,
      end: END,
      names: NAMES,
    };
    const fact = { kind: "offered", id: uuid(7), at: START, end: END, names: NAMES };
    expect(outcome([offer])).toEqual({ ...nothing, facts: [fact] });
    expect(outcome([offer], [offer])).toEqual(nothing);
  });
});
