// A whole process and its store's file: what is refused ends with exit code 3 and says what to do, leaves the file as it is
// and makes no slot; what breaks while it runs is acknowledged no further.

import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type pg from "pg";
import { expect, test } from "vitest";
import { must } from "../../../src/errors.ts";
import { temporaryFolder } from "../../crash/support/folder.ts";
import { confirmedFlush, rowsToTell } from "../../crash/support/slots.ts";
import { storedEnd } from "../../crash/support/stored.ts";
import { type Target, spawnServe } from "../../crash/support/victim.ts";
import { createDatabase } from "../../support/database.ts";
import { expectSumsEqualRecount } from "../../support/exact.ts";
import { publish, startInProcess, startProcess, uniqueSlot } from "../../support/firstlight.ts";
import { HandMade, JOBS } from "../../support/hand-made.ts";
import { readLedger } from "../../support/ledger.ts";
import { valueOf } from "../../support/scrape.ts";
import { expectAccounted } from "../support/accounted.ts";
import { endAllJobs, manyBuilds } from "../support/bulk.ts";

interface Place {
  readonly client: pg.Client;
  readonly made: HandMade;
  readonly target: Target;
  /** Keeps the store in a closed state for a while. */
  readonly copy: string;
}

/** A deployment whose store has some pages of facts; nobody follows. */
async function place(story: (place: Place) => Promise<void>): Promise<void> {
  await using database = await createDatabase();
  await using folder = await temporaryFolder();
  const client = await database.client();
  await publish(client);
  const made = await HandMade.on(client);
  await manyBuilds(client, made, 500);
  await endAllJobs(client);
  // That no worker had, so that the ledger has their ids only once.
  for (let n = 0; n < 20; n += 1) await made.build({ job: JOBS.pending });
  await client.query(
    "update provisioner_jobs set canceled_at = now(), completed_at = now() where completed_at is null",
  );
  mkdirSync(folder.path("state"));
  const statePath = folder.path("state/firstlight.db");
  const target = { url: database.url, slot: uniqueSlot(), statePath };
  {
    await using first = await startInProcess(target);
    await first.caughtUp();
  }
  const copy = folder.path("copy.db");
  copyFileSync(statePath, copy);
  await story({ client, made, target, copy });
}

/** Follows again, is exact after so many baselines, and by id. */
async function expectExact({ client, target }: Place, baselines: number): Promise<void> {
  {
    await using again = await startInProcess(target);
    const page = await again.caughtUp();
    await expectSumsEqualRecount(client, page);
    expect(valueOf(page, "firstlight_baselines_total")).toBe(baselines);
  }
  await expectAccounted(client, target.statePath);
}

/** Overwrites the page on which a counted job lies; returns that job. */
function damageFactPage(path: string): string {
  const bytes = readFileSync(path);
  const size = bytes.readUInt16BE(16);
  const placesOf = (id: string): readonly [first: number, last: number] => {
    const key = Buffer.from(id.replaceAll("-", ""), "hex");
    return [bytes.indexOf(key), bytes.lastIndexOf(key)];
  };
  // A page that was split keeps the bytes of what has moved away: of some ids there are two, and one means nothing.
  const { ended, started } = readLedger(path);
  const once = [...ended.keys()].find((id) => {
    if (started.has(id)) return false;
    const [first, last] = placesOf(id);
    return first === last;
  });
  const job = must(once, "no id is there once");
  const [at] = placesOf(job);
  bytes.fill(0xa5, at - (at % size), at - (at % size) + size);
  writeFileSync(path, bytes);
  return job;
}

test("a page that is damaged is found when it is read: exit 3, nothing acknowledged; a restored copy is exact", async () => {
  await place(async (where) => {
    const { client, target, copy } = where;
    const job = damageFactPage(target.statePath);
    {
      await using serving = await startProcess(target);
      await serving.caughtUp();
      await client.query(
        "update provisioner_jobs set completed_at = completed_at + interval '1 s' where id = $1",
        [job],
      );
      expect(await serving.exit).toBe(3);
      const said = serving.log.join("\n");
      expect(said).toMatch(/firstlight: the store \S+ is damaged: /);
      expect(said).toContain("What to do: restore a copy of it, or move it away");
      expect(await rowsToTell(client, target.slot)).toBe(1);
    }
    copyFileSync(copy, target.statePath);
    await client.query(
      "update provisioner_jobs set completed_at = completed_at - interval '1 s' where id = $1",
      [job],
    );
    // Others' WAL moves the slot, too: what was acknowledged after the copy was made is a gap of the copy.
    const gap = (await confirmedFlush(client, target.slot)) > storedEnd(target.statePath);
    await expectExact(where, gap ? 1 : 0);
  });
});

test("the folder is removed while it is open: exit 3, nothing acknowledged, and the next start begins from the tables", async () => {
  await place(async (where) => {
    const { client, made, target } = where;
    {
      await using serving = await startProcess(target);
      await serving.caughtUp();
      rmSync(dirname(target.statePath), { recursive: true });
      await made.build({ job: JOBS.failed });
      expect(await serving.exit).toBe(3);
      expect(serving.log.join("\n")).toContain("was removed or replaced while it was in use");
      // A job and a build.
      expect(await rowsToTell(client, target.slot)).toBe(2);
    }
    await expectExact(where, 1);
  });
});

test("a file of zero bytes is an empty store: it begins from the tables, with the slot that is there", async () => {
  await place(async (where) => {
    truncateSync(where.target.statePath, 0);
    await expectExact(where, 1);
    const { rows } = await where.client.query<{ slot_name: string }>(
      "select slot_name from pg_replication_slots where database = current_database()",
    );
    expect(rows).toEqual([{ slot_name: where.target.slot }]);
  });
});

const REFUSED: Readonly<Record<string, readonly [harm: (path: string) => void, says: RegExp]>> = {
  "cut in half": [
    (path) => truncateSync(path, Math.floor(readFileSync(path).length / 2)),
    /the store \S+ is damaged: [^]*What to do: restore a copy of it/,
  ],
  "another database": [
    (path) => {
      rmSync(path);
      const other = new DatabaseSync(path);
      other.exec("create table places (id integer primary key)");
      other.close();
    },
    /is a database, but no store of Firstlight[^]*What to do: set --state/,
  ],
  "of a newer version": [
    (path) => {
      const db = new DatabaseSync(path);
      db.exec("pragma user_version = 99");
      db.close();
    },
    /was written by a newer Firstlight \(schema 99[^]*What to do: run that version again/,
  ],
};

test("a store that is refused: exit 3, the file as it was, nothing beside it", async () => {
  await place(async ({ client, target, copy }) => {
    await client.query("select pg_drop_replication_slot($1)", [target.slot]);
    for (const [name, [harm, says]] of Object.entries(REFUSED)) {
      copyFileSync(copy, target.statePath);
      harm(target.statePath);
      const before = readFileSync(target.statePath);
      const { code, said } = await refused(target);
      expect(code, name).toBe(3);
      expect(said, name).toMatch(says);
      expect(readFileSync(target.statePath).equals(before), name).toBe(true);
      const beside = readdirSync(dirname(target.statePath)).sort();
      expect(beside, name).toEqual(["firstlight.db", "firstlight.db.lock"]);
    }
    const { rows } = await client.query(
      "select from pg_replication_slots where database = current_database()",
    );
    expect(rows).toEqual([]);
  });
});

async function refused(target: Target): Promise<{ code: unknown; said: string }> {
  await using victim = spawnServe(target);
  const code = await victim.ended;
  return { code, said: victim.log.join("\n") };
}

/** Takes the right to write away from everybody: root is bound by mounts only. Undefined where that can not be done. */
function readOnly(folder: string): Disposable | undefined {
  if (process.getuid?.() !== 0) {
    chmodSync(folder, 0o555);
    return { [Symbol.dispose]: () => chmodSync(folder, 0o755) };
  }
  try {
    execFileSync("mount", ["--bind", folder, folder], { stdio: "ignore" });
  } catch {
    return undefined;
  }
  execFileSync("mount", ["-o", "remount,bind,ro", folder]);
  return { [Symbol.dispose]: () => void execFileSync("umount", [folder]) };
}

test("a read-only folder: exit 3 and a writable path to be set; writable again, it is exact", async (context) => {
  await place(async (where) => {
    const { target } = where;
    {
      using protection = readOnly(dirname(target.statePath));
      if (!protection) return context.skip("nothing can be mounted here");
      const { code, said } = await refused(target);
      expect(code).toBe(3);
      expect(said).toMatch(/the store \S+ can not be written: /);
      expect(said).toContain("set --state (FIRSTLIGHT_STATE) to a writable path");
    }
    await expectExact(where, 0);
  });
});
