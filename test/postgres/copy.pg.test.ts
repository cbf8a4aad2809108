// COPY's text format as this server writes it, cut into network chunks wherever they end.

import { expect, test } from "vitest";
import { copyRows } from "../../src/postgres/copy.ts";
import { estimateRows } from "../../src/postgres/tables.ts";
import { openSession } from "../../src/postgres/session.ts";
import { createDatabase } from "../support/database.ts";

async function rowsOf(query: string): Promise<(string | null)[][]> {
  await using database = await createDatabase({ content: "empty" });
  await using session = await openSession({ connectionString: database.url }, { signal: never });
  const rows: (string | null)[][] = [];
  for await (const some of copyRows(session, query)) {
    expect(some.length).toBeGreaterThan(0);
    rows.push(...some);
  }
  // The session is free again.
  expect(await session.query("select 1 as one")).toEqual([{ one: 1 }]);
  return rows;
}

const never = new AbortController().signal;

test("every character comes back, and NULL is not the text \\N", async () => {
  const rows = await rowsOf(
    String.raw`select * from (values
      (E'tab\tfeed\nreturn\rback\\slash\b\f\v', null, ''),
      ('\N', '\\', E'\x01 é 日本 🦦'),
      (null, null, null)) as v (a, b, c)`,
  );
  expect(rows).toEqual([
    ["tab\tfeed\nreturn\rback\\slash\b\f\v", null, ""],
    [String.raw`\N`, String.raw`\\`, "\u0001 é 日本 🦦"],
    [null, null, null],
  ]);
});

test("rows that are cut anywhere, also within a character, and rows larger than any chunk", async () => {
  const rows = await rowsOf(
    "select n, repeat('日本🦦' || n, n), 'end' from generate_series(1, 600) as n union all select 0, repeat('é', 300000), 'end'",
  );
  expect(rows).toHaveLength(601);
  for (const [n, text, end] of rows) {
    const expected = n === "0" ? "é".repeat(300_000) : `日本🦦${n}`.repeat(Number(n));
    expect(text === expected && end === "end", `row ${n}`).toBe(true);
  }
});

test("a network chunk is handed on in small groups: what is alive of them all at once ends up in the old generation", async () => {
  await using database = await createDatabase({ content: "empty" });
  await using session = await openSession({ connectionString: database.url }, { signal: never });
  const groups: number[] = [];
  let next = 0;
  for await (const rows of copyRows(session, "select generate_series(0, 999)")) {
    groups.push(rows.length);
    for (const [n] of rows) expect(Number(n)).toBe(next++);
  }
  expect(next).toBe(1_000);
  expect(Math.max(...groups)).toBeLessThanOrEqual(64);
});

test("no row gives no group", async () => {
  expect(await rowsOf("select 1 where false")).toEqual([]);
});

test("an error is classed, also one that comes after rows", async () => {
  await expect(rowsOf("select * from missing")).rejects.toMatchObject({ reason: "schema" });
  await expect(
    rowsOf("select repeat('x', 100), 1 / (100000 - n) from generate_series(1, 100000) as n"),
  ).rejects.toMatchObject({ code: "22012" });
});

test("how many rows there are is known once the server has counted them, and not before", async () => {
  await using database = await createDatabase();
  const client = await database.client();
  await using session = await openSession({ connectionString: database.url }, { signal: never });
  expect(await estimateRows(session)).toEqual({ builds: null, agents: null });
  await client.query("set session_replication_role = replica");
  await client.query(
    `insert into workspace_builds (id, created_at, updated_at, workspace_id, template_version_id, build_number, transition,
       initiator_id, job_id)
     select gen_random_uuid(), now(), now(), gen_random_uuid(), gen_random_uuid(), n, 'start', gen_random_uuid(), gen_random_uuid()
     from generate_series(1, 250) as n`,
  );
  await client.query("analyze workspace_builds");
  expect(await estimateRows(session)).toEqual({ builds: 250, agents: null });
});
