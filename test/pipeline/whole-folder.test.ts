// A folder appears whole or not at all, whatever happens on the way. Where root can mount a small disk, also a full one.

import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { NeedsOperator } from "../../src/errors.ts";
import { openWholeFolder } from "../../src/pipeline/whole-folder.ts";
import { mountable, smallDisk } from "../support/small-disk.ts";

let root = "";
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "firstlight-folder-"));
});
afterEach(() => rm(root, { recursive: true, force: true }));

if (!mountable) process.stderr.write("SKIPPED: full disk (only root can mount a small one)\n");

const NEVER = new AbortController().signal;

async function write(path: string, texts: Iterable<string>, signal = NEVER): Promise<void> {
  await using folder = await openWholeFolder(path, signal);
  await folder.write("one", texts);
  await folder.publish();
}

const refusal = (action: Promise<unknown>): Promise<string> =>
  action.then(
    () => "nothing",
    (error: unknown) => {
      if (error instanceof NeedsOperator) return `${error.reason}: ${error.hint}`;
      throw error;
    },
  );

test("files are there once it is published, byte for byte, with their length and digest", async () => {
  const path = join(root, "a", "b");
  const texts = ["", "ü🦦\n", "x".repeat(1_000_000), "y".repeat(100_000), "end"];
  const whole = texts.join("");
  await using folder = await openWholeFolder(path, NEVER);
  expect(await folder.write("one", texts)).toEqual({
    bytes: Buffer.byteLength(whole),
    sha256: createHash("sha256").update(whole).digest("hex"),
  });
  expect(await readdir(join(root, "a"))).toEqual([expect.stringMatching(/^\.b\.unfinished-/)]);
  await folder.publish();
  expect(await readdir(join(root, "a"))).toEqual(["b"]);
  expect(await readFile(join(path, "one"), "utf8")).toBe(whole);
  // Others may read it, as far as this process' mask lets them.
  const other = join(root, "other");
  await mkdir(other);
  expect((await stat(path)).mode).toBe((await stat(other)).mode);
});

test("an empty folder is taken, one with files is refused and left alone", async () => {
  await mkdir(join(root, "empty"));
  await write(join(root, "empty"), ["text"]);
  expect(await readdir(join(root, "empty"))).toEqual(["one"]);
  expect(await refusal(write(join(root, "empty"), ["other"]))).toMatch(/^out_not_empty: /);
  expect(await readFile(join(root, "empty", "one"), "utf8")).toBe("text");
  expect(await readdir(root)).toEqual(["empty"]);
});

test("somebody writes to the target meanwhile: it is theirs", async () => {
  const path = join(root, "taken");
  await using folder = await openWholeFolder(path, NEVER);
  await folder.write("one", ["text"]);
  await mkdir(path);
  await writeFile(join(path, "theirs"), "");
  expect(await refusal(folder.publish())).toMatch(/^out_not_writable: .*meanwhile/);
  await folder[Symbol.asyncDispose]();
  expect(await readdir(root)).toEqual(["taken"]);
  expect(await readdir(path)).toEqual(["theirs"]);
});

test("an abort in the middle of a file leaves nothing", async () => {
  const stop = new AbortController();
  const texts = function* (): Generator<string> {
    for (let n = 0; n < 100; n += 1) {
      if (n === 50) stop.abort(new Error("stopped"));
      yield "x".repeat(100_000);
    }
  };
  await expect(write(join(root, "out"), texts(), stop.signal)).rejects.toThrow("stopped");
  expect(await readdir(root)).toEqual([]);
});

test("a part of the path that is a file, and a place where there can be no folder, are named", async () => {
  await writeFile(join(root, "file"), "");
  expect(await refusal(write(join(root, "file"), []))).toMatch(/^out_not_writable: .*is a file/);
  expect(await refusal(write(join(root, "file", "out"), []))).toMatch(/^out_not_writable: /);
  expect(await refusal(write("/proc/no/such/folder", []))).toMatch(/^out_not_writable: /);
  expect(await readdir(root)).toEqual(["file"]);
});

test.skipIf(!mountable)("a full disk leaves nothing", async () => {
  using disk = smallDisk();
  if (!disk) throw new Error("it could be mounted a moment ago");
  await disk.fill(1_000_000);
  const texts = Array.from({ length: 30 }, () => "x".repeat(100_000));
  expect(await refusal(write(join(disk.folder, "out"), texts))).toMatch(
    /^out_not_writable: give it more room/,
  );
  expect(await readdir(disk.folder)).toEqual(["filler"]);
  await disk.clear();
  await write(join(disk.folder, "out"), texts);
  expect(await readdir(disk.folder)).toEqual(["out"]);
});
