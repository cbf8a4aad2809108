// Whether the ledger can be kept where it shall be: looked at from outside, nothing is created.

import { accessSync, constants, existsSync, statSync, statfsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { NeedsOperator } from "../../errors.ts";
import type { Diagnosis } from "../../postgres/doctor/diagnosis.ts";
import { bytesText } from "../../postgres/doctor/diagnosis.ts";
import { networkFileSystem } from "../../store/file.ts";
import { openReadOnly } from "../../store/readonly.ts";

/** A ledger of 2.5 million facts takes 119 MB, and as much again while it is brought up to date. */
const ROOM_BYTES = 2 ** 30;

export interface StoreFacts {
  readonly path: string;
  /** The nearest folder above it that is there. */
  readonly folder: string;
  /** statfs(2). */
  readonly fileSystem: number;
  readonly freeBytes: number;
  /** What is wrong with a file or folder that is there, with what to do; null: nothing. */
  readonly refusal: { readonly message: string; readonly hint: string } | null;
}

export function storeFacts(path: string): StoreFacts {
  let folder = dirname(resolve(path));
  while (!existsSync(folder)) folder = dirname(folder);
  const { type, bavail, bsize } = statfsSync(folder);
  return {
    path,
    folder,
    fileSystem: Number(type),
    freeBytes: Number(bavail) * Number(bsize),
    refusal: refusalOf(path, folder),
  };
}

function refusalOf(path: string, folder: string): StoreFacts["refusal"] {
  const unwritable = (what: string): StoreFacts["refusal"] => ({
    message: `the store ${path} can not be written: ${what}`,
    hint: "give this user write access to the file and its folder, or set --state (FIRSTLIGHT_STATE) to a writable path",
  });
  if (!statSync(folder).isDirectory()) return unwritable(`${folder} is no folder`);
  try {
    accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK);
    if (!existsSync(path)) return null;
    accessSync(path, constants.R_OK | constants.W_OK);
  } catch (error) {
    return unwritable(error instanceof Error ? error.message : String(error));
  }
  try {
    openReadOnly(path)[Symbol.dispose]();
    return null;
  } catch (error) {
    if (!(error instanceof NeedsOperator)) throw error;
    // `serve` completes an empty file and brings an older store up to date.
    if (error.reason === "store_empty" || error.reason === "store_older") return null;
    return { message: error.message, hint: error.hint };
  }
}

/** Pure. */
export function storeVerdict({
  folder,
  fileSystem,
  freeBytes,
  refusal,
}: StoreFacts): readonly Diagnosis[] {
  const found: Diagnosis[] = [];
  const kind = networkFileSystem(fileSystem);
  if (kind !== undefined) {
    found.push({
      check: "store",
      severity: "problem",
      problem: `the store's folder ${folder} is on a network file system (${kind})`,
      fix: "put --state (FIRSTLIGHT_STATE) on a local disk or a block volume",
    });
  }
  if (refusal !== null)
    found.push({
      check: "store",
      severity: "problem",
      problem: refusal.message,
      fix: refusal.hint,
    });
  if (freeBytes < ROOM_BYTES) {
    found.push({
      check: "store",
      severity: "risk",
      problem: `the disk of the store's folder ${folder} has ${bytesText(freeBytes)} left: when it is full, nothing is counted`,
      fix: `make room for ${bytesText(ROOM_BYTES)}, or put --state (FIRSTLIGHT_STATE) on a larger disk`,
    });
  }
  return found;
}
