// The decoder against messages written byte by byte: every kind of message, and what the sieve lets through.

import { describe, expect, test } from "vitest";
import { ROW_COLUMNS } from "../../src/change/cells.ts";
import { SECOND } from "../../src/change/micros.ts";
import { type Row, TABLES } from "../../src/change/row.ts";
import { toLsn } from "../../src/lsn.ts";
import { PUBLISHED_COLUMNS } from "../../src/postgres/publication.ts";
import {
  AGENT,
  AGENTS,
  BUILD,
  BUILDS,
  CONNECTED,
  DONE,
  JOB,
  JOBS,
  NOW,
  at,
  decoding,
  id,
} from "../support/decoding.ts";
import {
  type Columns,
  Relation,
  begin,
  commit,
  logicalMessage,
  origin,
  truncate,
  typeOf,
} from "../support/pgoutput.ts";

/** The same table with all its columns in another order, and many more. */
const wide = (relation: Relation): Relation =>
  new Relation(relation.oid, relation.name, [
    "provisioner_state",
    ...relation.columns.toReversed(),
    ...Array.from({ length: 80 }, (_, n) => `extra_${n}`),
  ]);

const kinds = (rows: readonly Row[]): string[] => rows.map((row) => row.kind);

describe("transactions", () => {
  test("a transaction carries its xid as 32 unsigned bits, its end and its time to the microsecond", () => {
    const { feed } = decoding();
    const xid = 4_294_967_290;
    const [, , tx] = feed(begin({ xid, at: NOW }), BUILDS.insert(BUILD), commit(0x16_b374d848n));
    expect(tx).toMatchObject({ xid, end: toLsn(0x16_b374d848n), at: NOW });
  });

  test("a transaction without news is no transaction, but its end is known", () => {
    const { decoder, feed, counts } = decoding();
    feed(begin());
    expect(decoder.open).toBe(true);
    expect(feed(commit(500n))).toEqual([null]);
    expect(decoder.open).toBe(false);
    expect(decoder.end).toBe(toLsn(500n));
    expect(counts.transactions).toBe(1);
  });

  test("rows go on in causal order, whatever the order of the statements", () => {
    const { rows } = decoding();
    const messages = [
      AGENTS.delete({ id: id(9) }),
      AGENTS.insert(AGENT),
      JOBS.insert(DONE),
      BUILDS.insert(BUILD),
    ];
    expect(kinds(rows(messages))).toEqual(["build", "job", "gone", "agent"]);
  });

  test("a row that is deleted and inserted again in one transaction is there, the other way round it is not", () => {
    const { rows } = decoding();
    const [gone, born] = [AGENTS.delete({ id: AGENT.id ?? "" }), AGENTS.insert(AGENT)];
    expect(kinds(rows([gone, born]))).toEqual(["gone", "agent"]);
    expect(kinds(rows([born, gone]))).toEqual(["agent", "gone"]);
  });

  test("rows of one transaction do not leak into the next", () => {
    const { rows } = decoding();
    expect(kinds(rows([BUILDS.insert(BUILD)]))).toEqual(["build"]);
    expect(kinds(rows([AGENTS.insert(AGENT)]))).toEqual(["agent"]);
  });

  test("origins, types and logical messages say nothing", () => {
    const { rows } = decoding();
    expect(rows([origin(), typeOf(16_500, "build_reason"), logicalMessage("hello")])).toEqual([]);
  });
});

describe("rows", () => {
  test("an inserted build is read whole", () => {
    const { rows, waiting } = decoding();
    const [row] = rows([BUILDS.insert({ ...BUILD, template_version_preset_id: id(10) })]);
    expect(row).toEqual({
      kind: "build",
      id: id(1),
      workspace: id(2),
      job: id(5),
      version: id(3),
      number: 1,
      transition: "start",
      initiator: id(4),
      reason: "initiator",
      preset: id(10),
      createdAt: NOW,
    });
    expect(waiting.hasJob(id(5))).toBe(true);
  });

  test("a completed job is read whole, its error only as empty or not", () => {
    const { rows } = decoding();
    const failed = { ...DONE, error: "password=hunter2", error_code: "X", canceled_at: at(20) };
    const [row] = rows([JOBS.insert(failed)]);
    expect(row).toEqual({
      kind: "job",
      id: id(5),
      type: "workspace_build",
      provisioner: "terraform",
      initiator: id(4),
      worker: id(6),
      failed: true,
      errorCode: "X",
      createdAt: NOW,
      startedAt: NOW + SECOND,
      canceledAt: NOW + 20 * SECOND,
      completedAt: NOW + 30 * SECOND,
    });
  });

  test.each([
    ["NULL", null, false],
    ["empty", "", false],
    ["a text", "exit status 1", true],
    ["unchanged TOAST, so long", undefined, true],
  ])("an error that is %s", (_name, error, failed) => {
    const { rows } = decoding();
    expect(rows([JOBS.update({ ...DONE, error })])).toMatchObject([{ kind: "job", failed }]);
  });

  test("an agent is read whole", () => {
    const { rows } = decoding();
    const [row] = rows([AGENTS.insert({ ...CONNECTED, parent_id: id(11), deleted: "t" })]);
    expect(row).toEqual({
      kind: "agent",
      isNew: true,
      id: id(7),
      resource: id(8),
      parent: id(11),
      name: "main",
      lifecycle: "created",
      readyAt: null,
      deleted: true,
      createdAt: NOW + 30 * SECOND,
      firstConnectedAt: NOW + 712e5,
    });
  });

  test("a sub-agent that is deleted is news, once; any other agent is deleted with all of its build", () => {
    const { rows } = decoding();
    const gone = { ...CONNECTED, deleted: "t" };
    expect(rows([AGENTS.update(gone)])).toEqual([]);
    const told = rows([AGENTS.update({ ...gone, parent_id: id(11) })]);
    expect(told).toMatchObject([{ kind: "agent", deleted: true, isNew: false }]);
    expect(
      rows([AGENTS.update({ ...gone, parent_id: id(11), last_connected_at: at(99) })]),
    ).toEqual([]);
    expect(rows([AGENTS.update({ ...CONNECTED, id: id(13), parent_id: id(11) })])).toEqual([]);
  });

  test("a deleted row is its table and key", () => {
    const { rows, counts } = decoding();
    expect(rows([BUILDS.delete({ id: id(1) }), JOBS.delete(JOB, "O")])).toEqual([
      { kind: "gone", table: "workspace_builds", id: id(1) },
      { kind: "gone", table: "provisioner_jobs", id: id(5) },
    ]);
    expect(counts.changes.workspace_builds.delete).toBe(1);
  });

  test("a changed key is the old row gone and the new one told", () => {
    const { rows, waiting } = decoding();
    waiting.addAgent(id(12));
    const update = AGENTS.update(
      { ...CONNECTED, id: id(12) },
      { kind: "K", columns: { id: id(7) } },
    );
    expect(rows([update])).toMatchObject([
      { kind: "gone", table: "workspace_agents", id: id(7) },
      { kind: "agent", id: id(12) },
    ]);
  });

  test("the old row of REPLICA IDENTITY FULL is passed over", () => {
    const { rows } = decoding();
    const update = JOBS.update(DONE, { kind: "O", columns: { ...JOB, error: "an older one" } });
    expect(rows([update])).toMatchObject([{ kind: "job", id: id(5), failed: false }]);
  });

  test("whole tables, in any order of columns and with any others, are read alike", () => {
    const relations = [wide(BUILDS), wide(JOBS), wide(AGENTS)] as const;
    const extra = { provisioner_state: undefined, extra_0: "x".repeat(70_000), extra_79: "ü" };
    const narrow = decoding().rows([BUILDS, JOBS, AGENTS].map((r, i) => r.insert(CELLS[i] ?? {})));
    const whole = decoding(relations).rows(
      relations.map((r, i) => r.insert({ ...CELLS[i], ...extra })),
    );
    expect(whole).toEqual(narrow);
    expect(kinds(whole)).toEqual(["build", "job", "agent"]);
  });

  const CELLS: readonly Columns[] = [BUILD, DONE, AGENT];

  test("rows of a table that is none of ours are not passed over: it may be ours under another name", () => {
    const { feed } = decoding([BUILDS]);
    const other = new Relation(9, "old_workspace_agents", PUBLISHED_COLUMNS.workspace_agents);
    expect(() => feed(other.describe())).toThrow(
      expect.objectContaining({ reason: "table_unknown" }),
    );
  });

  test("a transition that this version does not know is told and can not be a start", () => {
    const { rows, unknown } = decoding();
    expect(rows([BUILDS.insert({ ...BUILD, transition: "hibernate" })])).toMatchObject([
      { kind: "build", transition: "hibernate" },
    ]);
    expect(unknown).toEqual(["workspace_builds.transition hibernate"]);
  });

  test("reasons and job types that this version does not know are told and go on", () => {
    const { rows, unknown } = decoding();
    const messages = [
      BUILDS.insert({ ...BUILD, reason: "solar_eclipse" }),
      JOBS.insert({ ...DONE, type: "daydream" }),
    ];
    expect(rows(messages)).toMatchObject([{ reason: "solar_eclipse" }, { type: "daydream" }]);
    expect(unknown).toEqual([
      "workspace_builds.reason solar_eclipse",
      "provisioner_jobs.type daydream",
    ]);
  });

  test("truncations are counted by table", () => {
    const { rows, counts } = decoding();
    expect(rows([truncate([BUILDS.oid, AGENTS.oid, 999])])).toEqual([]);
    expect(counts.changes.workspace_builds.truncate).toBe(1);
    expect(counts.changes.workspace_agents.truncate).toBe(1);
  });
});

describe("the sieve", () => {
  test("heartbeats of builds, jobs and agents produce nothing", () => {
    const { rows, waiting, counts } = decoding();
    waiting.addRunning(JOB.id, false);
    waiting.addAgent(AGENT.id);
    const beats = [
      BUILDS.update(BUILD),
      JOBS.update({ ...JOB, updated_at: at(5), started_at: at(1), worker_id: id(6) }),
      AGENTS.update({ ...AGENT, lifecycle_state: "starting" }),
    ];
    expect(rows(Array.from({ length: 10 }, () => beats).flat())).toEqual([]);
    expect(counts.changes.provisioner_jobs.update).toBe(10);
  });

  test("the job of a new build is news when it ends, however late its times say", () => {
    const { rows } = decoding();
    rows([JOBS.insert(JOB), BUILDS.insert(BUILD)]);
    expect(kinds(rows([JOBS.update(DONE)], 900_000))).toEqual(["job"]);
  });

  test.each([
    [3_600, ["job"]],
    [3_601, []],
  ])("a job that nobody remembers is news up to an hour after its end: %d s", (age, told) => {
    const { rows } = decoding();
    expect(kinds(rows([JOBS.update(DONE)], 30 + age))).toEqual(told);
  });

  test("a completed job is news again only when its completion changes, however old it is", () => {
    const { rows } = decoding();
    const again = { ...DONE, completed_at: at(400) };
    rows([JOBS.insert(JOB), BUILDS.insert(BUILD)]);
    const news = [DONE, DONE, again, again, DONE].map(
      (cells) => rows([JOBS.update(cells)], 90_000).length,
    );
    expect(news).toEqual([1, 0, 1, 0, 1]);
  });

  test("an end that is taken back, or told otherwise with the same time, is news once", () => {
    const { rows } = decoding();
    const ended = { ...DONE, error: null };
    expect(kinds(rows([JOBS.insert(JOB), JOBS.update(ended)]))).toEqual(["job"]);
    for (const change of [
      { error: "boom" },
      { error: "boom", error_code: "X" },
      { error: "boom", canceled_at: DONE.completed_at },
      { completed_at: null },
      { error: "boom" },
    ]) {
      const row = { ...ended, ...change } as Columns;
      expect(kinds(rows([JOBS.update(row)])), JSON.stringify(change)).toEqual(["job"]);
      expect(kinds(rows([JOBS.update(row)])), "repeated").toEqual([]);
    }
  });

  test("the toasted error of an end is as good as its text", () => {
    const { rows } = decoding();
    const failed = { ...DONE, error: "boom" } as Columns;
    expect(kinds(rows([JOBS.insert(JOB), JOBS.update(failed)]))).toEqual(["job"]);
    expect(kinds(rows([JOBS.update({ ...failed, error: undefined } as Columns)]))).toEqual([]);
  });

  test("a job that runs is no news, whatever was remembered, and ends all the same", () => {
    const { rows } = decoding();
    expect(rows([JOBS.insert(JOB), JOBS.update(JOB), JOBS.update(JOB)])).toEqual([]);
    expect(kinds(rows([JOBS.update(DONE)]))).toEqual(["job"]);
  });

  test("a connection time that is taken back is news once; an agent that waits has none to take back", () => {
    const { rows } = decoding();
    expect(kinds(rows([AGENTS.insert(AGENT), AGENTS.update(AGENT)]))).toEqual(["agent"]);
    expect(kinds(rows([AGENTS.update(CONNECTED)]))).toEqual(["agent"]);
    expect(kinds(rows([AGENTS.update(AGENT)]))).toEqual(["agent"]);
    expect(rows([AGENTS.update(AGENT)])).toEqual([]);
  });

  test("a new agent waits, its connection is news until it is forgotten", () => {
    const { rows, waiting } = decoding();
    expect(kinds(rows([AGENTS.insert(AGENT)]))).toEqual(["agent"]);
    expect(rows([AGENTS.update(CONNECTED)])).toMatchObject([{ kind: "agent", isNew: false }]);
    expect(kinds(rows([AGENTS.update(CONNECTED)]))).toEqual(["agent"]);
    waiting.forgetAgent(AGENT.id);
    expect(rows([AGENTS.update({ ...CONNECTED, last_connected_at: at(86.2) })])).toEqual([]);
  });

  test("an agent that was inserted connected does not wait", () => {
    const { rows } = decoding();
    expect(kinds(rows([AGENTS.insert(CONNECTED)]))).toEqual(["agent"]);
    expect(rows([AGENTS.update(CONNECTED)])).toEqual([]);
  });

  test("a connection time that flips between two is news at each flip", () => {
    const { rows, waiting } = decoding();
    rows([AGENTS.insert(AGENT), AGENTS.update(CONNECTED)]);
    waiting.forgetAgent(AGENT.id);
    const other = { ...CONNECTED, first_connected_at: at(72) };
    const beats = [CONNECTED, other, other, CONNECTED].map((cells) => AGENTS.update(cells));
    expect(beats.map((beat) => rows([beat]).length)).toEqual([0, 1, 0, 1]);
  });
});

test.each(TABLES)("every column that makes a row of %s is published", (table) => {
  expect(PUBLISHED_COLUMNS[table]).toEqual(expect.arrayContaining([...ROW_COLUMNS[table]]));
});
