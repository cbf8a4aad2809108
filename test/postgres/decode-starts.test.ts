// Which rows of agents tell of a start: what waits for that, what starts once more, and nothing else.

import { expect, test } from "vitest";
import type { Row } from "../../src/change/row.ts";
import { AGENT, AGENTS, CONNECTED, at, decoding, id } from "../support/decoding.ts";
import type { Columns } from "../support/pgoutput.ts";

const STARTING = { ...CONNECTED, lifecycle_state: "starting" };
const over = (lifecycle_state: string, seconds: number): Columns => ({
  ...CONNECTED,
  lifecycle_state,
  ready_at: at(seconds),
});
const READY = over("ready", 90);
/** As every heartbeat: another last connection. */
const beat = (row: Columns, seconds: number): Columns => ({
  ...row,
  last_connected_at: at(seconds),
});

const states = (rows: readonly Row[]): string[] =>
  rows.map((row) => (row.kind === "agent" ? row.lifecycle : row.kind));

/** An agent that has connected, and waits for its start alone. */
function connected() {
  const { rows, waiting } = decoding();
  const tell = (...cells: readonly Columns[]): string[] =>
    states(rows(cells.map((row) => AGENTS.update(row))));
  rows([AGENTS.insert(AGENT), AGENTS.update(CONNECTED)]);
  waiting.forgetAgent(AGENT.id);
  return { rows, waiting, tell };
}

test("nothing between connection and the end of the start is news, and no heartbeat after it", () => {
  const { waiting, tell } = connected();
  expect(tell(CONNECTED, STARTING, beat(STARTING, 75), beat(STARTING, 90))).toEqual([]);
  expect(tell(READY)).toEqual(["ready"]);
  waiting.forgetStarting(AGENT.id);
  expect(tell(...[105, 120, 135].map((seconds) => beat(READY, seconds)))).toEqual([]);
});

test("the end of a start is told once, also while it is not counted yet; another one is told", () => {
  const { tell } = connected();
  expect(tell(READY, beat(READY, 105))).toEqual(["ready"]);
  expect(tell(beat(READY, 120), over("ready", 400))).toEqual(["ready"]);
});

test.each(["ready", "start_timeout", "start_error"])("%s ends a start, with its time", (state) => {
  const { tell } = connected();
  expect(tell({ ...CONNECTED, lifecycle_state: state })).toEqual([]);
  expect(tell(over(state, 90))).toEqual([state]);
});

test.each(["created", "shutting_down", "off", "readily", "hibernating", "start_paused", ""])(
  "%j ends none, whatever a newer Coder means by it",
  (state) => {
    const { tell } = connected();
    expect(tell(over(state, 90), { ...CONNECTED, lifecycle_state: state })).toEqual([]);
  },
);

test("one that timed out is told to be over after all, however late", () => {
  const { waiting, tell } = connected();
  const late = over("start_timeout", 90);
  expect(tell(late)).toEqual(["start_timeout"]);
  waiting.forgetStarting(AGENT.id);
  waiting.addLate(AGENT.id);
  expect(tell(beat(late, 105), beat(late, 120))).toEqual([]);
  expect(tell(over("ready", 9_000))).toEqual(["ready"]);
  waiting.forgetLate(AGENT.id);
  expect(tell(beat(over("ready", 9_000), 9_015))).toEqual([]);
});

test("that an agent starts once more is told once, and how that went", () => {
  const { waiting, tell } = connected();
  tell(READY);
  waiting.forgetStarting(AGENT.id);
  expect(tell(STARTING, beat(STARTING, 400), beat(STARTING, 415))).toEqual(["starting"]);
  waiting.startsAgain(AGENT.id);
  expect(tell(over("ready", 420), beat(over("ready", 420), 430))).toEqual(["ready"]);
  waiting.startedAgain(AGENT.id);
  expect(tell(beat(over("ready", 420), 445))).toEqual([]);
  expect(tell(STARTING)).toEqual(["starting"]);
});

test("all of that is told where it happens before any of it is counted", () => {
  const { waiting, tell } = connected();
  expect(tell(READY, STARTING, beat(STARTING, 400), over("ready", 420), STARTING)).toEqual([
    "ready",
    "starting",
    "ready",
    "starting",
  ]);
  waiting.forgetStarting(AGENT.id);
  waiting.startsAgain(AGENT.id);
  waiting.startedAgain(AGENT.id);
  waiting.startsAgain(AGENT.id);
  expect(tell(beat(STARTING, 500), over("ready", 520))).toEqual(["ready"]);
  waiting.startedAgain(AGENT.id);
  expect(tell(beat(over("ready", 520), 535))).toEqual([]);
});

test("sub-agents start as they like, and who never connected has not started", () => {
  const { rows, waiting, tell } = connected();
  const parent = { id: id(12), parent_id: id(11) };
  const born = rows([AGENTS.insert({ ...AGENT, ...parent })]);
  waiting.forgetAgent(id(12));
  expect(states(born)).toEqual(["created"]);
  expect(tell({ ...STARTING, ...parent }, { ...READY, ...parent })).toEqual([]);
  expect(tell({ ...AGENT, id: id(13), lifecycle_state: "starting" })).toEqual([]);
});

test("the connection of an agent that waits for both is told, and its start after it", () => {
  const { rows, waiting } = decoding();
  rows([AGENTS.insert(AGENT)]);
  expect(states(rows([AGENTS.update(CONNECTED)]))).toEqual(["created"]);
  waiting.forgetAgent(AGENT.id);
  expect(rows([AGENTS.update(beat(CONNECTED, 86))])).toEqual([]);
  expect(states(rows([AGENTS.update(READY)]))).toEqual(["ready"]);
});
