// docs/operations.md holds what can be pasted: its SQL runs on a real server, its commands and flags are ours, its links lead somewhere.

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type pg from "pg";
import { expect, test } from "vitest";
import { must } from "../../src/errors.ts";
import { createDatabase } from "../support/database.ts";
import { anchorsOf } from "../support/docs.ts";
import { outsideEnvironment, publish, uniqueSlot } from "../support/firstlight.ts";

const PAGE = new URL("../../docs/operations.md", import.meta.url);
const page = readFileSync(PAGE, "utf8");
const MAIN = fileURLToPath(new URL("../../src/main.ts", import.meta.url));

const blocks = (language: string): string[] =>
  [...page.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, "gms"))].map(
    ([, block = ""]) => block,
  );

const help = (...args: string[]): string =>
  execFileSync(process.execPath, [MAIN, ...args, "--help"], {
    encoding: "utf8",
    env: outsideEnvironment(),
  });

/** Statements between backquotes too; what a person has to fill in is left out. */
function statements(): string[] {
  const inline = [...page.matchAll(/`(select [^`]+;)`/g)].map(([, sql = ""]) => sql);
  return [...blocks("sql"), ...inline]
    .flatMap((block) => block.split(";"))
    .map((sql) => sql.trim())
    .filter((sql) => sql !== "" && !sql.includes("…"));
}

test("every statement runs, and a setting is one that a reload is enough for", async () => {
  await using database = await createDatabase();
  const client = await database.client();
  await publish(client);
  const slot = uniqueSlot();
  const all = [...new Set(statements())];
  expect(all.length).toBeGreaterThan(10);
  for (const sql of all) await run(client, sql, slot);
});

/** Slots belong to the whole server, so each has a name of its own; settings do, too, and are only looked up. */
async function run(client: pg.Client, sql: string, slot: string): Promise<void> {
  const [, setting] = /^alter system set (\w+) = '\w+'$/.exec(sql) ?? [];
  if (setting !== undefined) {
    const { rows } = await client.query("select context from pg_settings where name = $1", [
      setting,
    ]);
    expect(rows, sql).toEqual([{ context: "sighup" }]);
    return;
  }
  if (sql.includes("pg_drop_replication_slot"))
    await client.query("select pg_create_logical_replication_slot($1, 'pgoutput')", [slot]);
  const apart = sql.includes("replication_slot(") || sql === "checkpoint";
  if (!apart) await client.query("begin");
  await client.query(sql.replaceAll("'firstlight'", `'${slot}'`));
  if (!apart) await client.query("rollback");
  if (sql.includes("pg_create_logical_replication_slot"))
    await client.query("select pg_drop_replication_slot($1)", [slot]);
}

test("a migration that is blocked by the publication is not, once it is dropped as the page says", async () => {
  await using database = await createDatabase();
  const client = await database.client();
  await publish(client);
  const drop = "alter table workspace_builds drop column reason";
  const retype = "alter table workspace_builds alter column build_number type bigint";
  const [wayOut] = must(/is blocked\n.*?```sql\n(.*?)```/s.exec(page)?.slice(1), "no way out");
  const codeOf = (sql: string): Promise<unknown> =>
    client.query(sql).then(
      () => "done",
      (error: unknown) => (error as { code: string }).code,
    );
  expect(await codeOf(drop)).toBe("2BP01");
  expect(await codeOf(retype)).not.toBe("done");
  expect(await codeOf(must(wayOut, "no statement"))).toBe("done");
  expect(await codeOf(retype)).toBe("done");
  expect(await codeOf(drop)).toBe("done");
});

test("commands and flags are ours", () => {
  const general = help();
  const commands = [...general.matchAll(/^ {2}(\w+) \[options\]/gm)].map(([, name]) => name);
  const told = [...page.matchAll(/^firstlight (\w+)|`firstlight (\w+)/gm)];
  expect(told.length).toBeGreaterThan(5);
  for (const [text, first, second] of told) expect(commands, text).toContain(first ?? second);
  const flags = ["setup", "teardown", "doctor", "verify", "backfill"]
    .map((command) => help(command))
    .join("\n");
  for (const [flag] of page.matchAll(/(?<=`|`firstlight \w+ )--[a-z-]+/g))
    expect(`${general}\n${flags}`, flag).toContain(`${flag} `);
});

test("links lead to files and headings that are there", () => {
  for (const [, target = ""] of page.matchAll(/\]\(((?!https?:)[^)]+)\)/g)) {
    const [path = "", anchor] = target.split("#");
    const file = path === "" ? PAGE : new URL(path, PAGE);
    expect(existsSync(file), target).toBe(true);
    if (anchor !== undefined) expect(anchorsOf(readFileSync(file, "utf8"))).toContain(anchor);
  }
});
