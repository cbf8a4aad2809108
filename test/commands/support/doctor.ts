// `doctor` under test: a database that is as it should be, doctor in this process, and its fixes applied as they are printed.

import { tmpdir } from "node:os";
import { must } from "../../../src/errors.ts";
import { join } from "node:path";
import pg from "pg";
import { expect } from "vitest";
import { examine } from "../../../src/commands/doctor.ts";
import { setupText } from "../../../src/commands/setup/text.ts";
import { type RawFlags, parseConfig } from "../../../src/config.ts";
import type { Diagnosis } from "../../../src/postgres/doctor/diagnosis.ts";
import { type TestDatabase, createDatabase } from "../../support/database.ts";
import { blocksOf } from "../../support/blocks.ts";

const signal = new AbortController().signal;

export interface Asked {
  readonly url: string;
  readonly slot?: string;
  readonly state?: string;
  /** More of them, as they are given on the command line. */
  readonly flags?: RawFlags;
}

/** A path in a folder that is there, of a store that is not. */
export const NO_STORE = join(tmpdir(), "firstlight-doctor-has-no-store.db");

/** Everything that doctor has to say. */
export async function examined({ url, slot = "doctor_nobody", state = NO_STORE, flags }: Asked) {
  const config = parseConfig({
    flags: { databaseUrl: url, slot, state, ...flags },
    env: {},
    readFile: () => "",
  });
  return examine({ config, measureMs: 50, signal });
}

/** What it finds; the shared server has no limit for slots, which is a case of its own. */
export async function findingsOf(asked: Asked): Promise<readonly Diagnosis[]> {
  const { findings } = await examined(asked);
  return findings.filter(
    ({ check, severity }) => severity !== "note" && check !== "max_slot_wal_keep_size",
  );
}

/** Findings as short texts, to compare them as a whole. */
export const short = (findings: readonly Diagnosis[]): string[] =>
  findings.map(({ check, severity, problem }) => `${severity} ${check}: ${problem}`);

/** The one finding of this check whose problem has these words. */
export function only(findings: readonly Diagnosis[], check: string, words: string): Diagnosis {
  const found = findings.filter((each) => each.check === check && each.problem.includes(words));
  expect(found, short(findings).join("\n")).toHaveLength(1);
  return found[0] as Diagnosis;
}

/** Statement by statement, as psql sends what is pasted. Lines that begin with # are no SQL, and must not be there. */
export async function runFix(fix: string, client: pg.Client): Promise<void> {
  expect(fix).not.toMatch(/^#/m);
  const sql = fix.replaceAll(/--.*$/gm, "");
  for (const statement of sql.split(";"))
    if (statement.trim() !== "") await client.query(statement);
}

export interface Prepared extends AsyncDisposable {
  readonly database: TestDatabase;
  readonly admin: pg.Client;
  /** The follower's role, as `setup` makes it. */
  readonly role: string;
  readonly url: string;
}

/** Coder's tables, the publication, and a role with what it needs. */
export async function prepared(): Promise<Prepared> {
  const database = await createDatabase();
  const admin = await database.client();
  const role = `${database.name}_role`;
  await admin.query(`create role ${role} with login replication`);
  const text = setupText({ publication: "firstlight", role, wholeTables: false });
  await runFix(must(blocksOf(text).get(2), "no block for the owner"), admin);
  return {
    database,
    admin,
    role,
    url: database.urlAs(role),
    async [Symbol.asyncDispose]() {
      const { rows } = await admin.query<{ name: string }>(
        `select quote_ident(rolname) as name from pg_roles where rolname like $1
         or rolname in ('firstlight', 'firstlight_follower')`,
        [`${database.name}%`],
      );
      for (const { name } of rows)
        await admin.query(
          `reassign owned by ${name} to postgres; drop owned by ${name}; drop role ${name}`,
        );
      await database[Symbol.asyncDispose]();
    },
  };
}
