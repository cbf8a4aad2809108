// What can be wrong with a store's file, and what the operator is told. File modes do not bind root, so nothing here
// depends on them.

import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  closeSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { NeedsOperator } from "../../src/errors.ts";
import { openFile } from "../../src/store/file.ts";
import { Store } from "../../src/store/store.ts";
import { CATALOG } from "../support/folding.ts";
import { attempted, uuid } from "../support/rows.ts";
import { write } from "../support/storing.ts";

const root = mkdtempSync(join(tmpdir(), "firstlight-file-"));
let folder = "";
let path = "";
let count = 0;
/** A good store with some thousand facts in it. */
const good = join(root, "good.db");

beforeAll(() => {
  using store = Store.open({ path: good, catalog: CATALOG });
  store.load();
  write(store, { facts: Array.from({ length: 2_000 }, (_, n) => attempted({ id: uuid(n) })) });
});
beforeEach(() => {
  folder = join(root, `test-${(count += 1)}`);
  mkdirSync(folder);
  path = join(folder, "firstlight.db");
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** Opens and reads everything, as a start does. */
function start(): void {
  using store = Store.open({ path, catalog: CATALOG });
  store.load();
  for (const _fact of store.ledger.facts());
}

function refusal(work: () => void = start): NeedsOperator {
  try {
    work();
  } catch (error) {
    expect(error).toBeInstanceOf(NeedsOperator);
    return error as NeedsOperator;
  }
  throw new Error("nothing was refused");
}

test("a store is created with its folders, and opened again", () => {
  path = join(folder, "a", "b", "firstlight.db");
  start();
  start();
  expect(existsSync(path)).toBe(true);
});

test("it is written ahead, synced at every commit, and versioned", () => {
  using file = openFile(path);
  const pragma = (name: string): unknown =>
    Object.values(file.db.prepare(`pragma ${name}`).get() ?? {})[0];
  expect([pragma("journal_mode"), pragma("synchronous"), pragma("user_version")]).toEqual([
    "wal",
    2,
    5,
  ]);
});

describe("damage is named, never worked on", () => {
  test("random bytes", () => {
    writeFileSync(path, Buffer.alloc(8_192, "no database at all "));
    expect(refusal()).toMatchObject({ reason: "store_damaged" });
  });

  test.each([0.25, 0.5, 0.9])("a file cut at %d of its length", (part) => {
    cpSync(good, path);
    truncateSync(path, Math.floor(statSync(path).size * part));
    expect(refusal()).toMatchObject({ reason: "store_damaged" });
  });

  test("bytes overwritten in the middle", () => {
    cpSync(good, path);
    const size = statSync(path).size;
    const file = openSync(path, "r+");
    writeSync(file, Buffer.alloc(size / 2, 0xa5), 0, size / 2, size / 4);
    closeSync(file);
    expect(refusal()).toMatchObject({ reason: "store_damaged" });
  });

  test("a database of something else", () => {
    const other = new DatabaseSync(path);
    other.exec("create table places (id integer primary key, url text)");
    other.close();
    const before = readFileSync(path);
    expect(refusal()).toMatchObject({ reason: "store_foreign" });
    expect(readFileSync(path).equals(before)).toBe(true);
  });
});

test("an empty file is an empty store", () => {
  writeFileSync(path, "");
  expect(start).not.toThrow();
});

test("a file of a newer version is refused and left as it is", () => {
  cpSync(good, path);
  const db = new DatabaseSync(path);
  db.exec("pragma user_version = 99");
  db.close();
  const before = readFileSync(path);
  const error = refusal();
  expect(error.reason).toBe("store_newer");
  expect(error.message).toContain("schema 99");
  expect(readFileSync(path).equals(before)).toBe(true);
});

describe("a path that can not be written is named", () => {
  test("a folder instead of the file", () => {
    mkdirSync(path);
    expect(refusal()).toMatchObject({ reason: "store_not_writable" });
  });

  test("a file instead of the folder", () => {
    writeFileSync(join(folder, "file"), "");
    path = join(folder, "file", "firstlight.db");
    expect(refusal()).toMatchObject({ reason: "store_not_writable" });
  });

  test("a file instead of a folder further up", () => {
    writeFileSync(join(folder, "file"), "");
    path = join(folder, "file", "data", "firstlight.db");
    expect(refusal()).toMatchObject({ reason: "store_not_writable" });
  });
});

describe("one store is one process", () => {
  test("a second opening is refused, and possible once the first is closed", () => {
    {
      using first = openFile(path);
      expect(first.db.isOpen).toBe(true);
      expect(refusal()).toMatchObject({ reason: "store_in_use" });
    }
    expect(start).not.toThrow();
  });

  test("also for another process, and the lock dies with a process that is killed", async () => {
    const source = `
      import { openFile } from ${JSON.stringify(new URL("../../src/store/file.ts", import.meta.url).href)};
      const file = openFile(${JSON.stringify(path)});
      file.db.exec("select 1");
      process.stdout.write("open");
      setInterval(() => file, 1_000);`;
    const child = spawn(process.execPath, ["--input-type=module", "--eval", source], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const exit = once(child, "exit");
    await once(child.stdout, "data");
    expect(refusal()).toMatchObject({ reason: "store_in_use" });
    child.kill("SIGKILL");
    await exit;
    expect(start).not.toThrow();
  });

  test("a store that was refused holds no lock", () => {
    cpSync(good, path);
    truncateSync(path, 5_000);
    refusal();
    rmSync(path);
    expect(start).not.toThrow();
  });
});

test("hints say what to do, and never hold more than the path", () => {
  writeFileSync(path, Buffer.alloc(8_192, "s3cret "));
  const { message, hint } = refusal();
  expect(message).toContain(path);
  expect(hint).toContain("move it away");
  expect(message + hint).not.toContain("s3cret");
});
