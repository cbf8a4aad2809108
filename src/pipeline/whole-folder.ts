// A folder of files that appears whole or not at all: written beside its place under another name, made durable, and renamed.

import { type Hash, createHash, randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { type FileHandle, mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { NeedsOperator } from "../errors.ts";

const BUFFER_BYTES = 262_144;
/** A UTF-16 unit takes at most three bytes of UTF-8. */
const BYTES_PER_UNIT = 3;

export interface WrittenText {
  readonly bytes: number;
  readonly sha256: string;
}

/** Disposing without `publish` removes everything. */
export interface WholeFolder extends AsyncDisposable {
  /** Writes a file; the texts are taken one by one as the disk takes them. */
  write(name: string, texts: Iterable<string>): Promise<WrittenText>;
  /** Makes it durable and gives it its name. */
  publish(): Promise<void>;
}

/**
 * Begins a folder at `path`, which must not be there, or be empty. What the file system refuses is a `NeedsOperator`, here and
 * later; the signal ends a write.
 */
export async function openWholeFolder(path: string, signal: AbortSignal): Promise<WholeFolder> {
  const target = resolve(path);
  const guarded = <T>(action: () => Promise<T>): Promise<T> => guard(path, action);
  await requireUnused(path);
  const unfinished = `.${basename(target)}.unfinished-${randomUUID().slice(0, 8)}`;
  const temporary = join(dirname(target), unfinished);
  await guarded(async () => {
    await makeFolder(dirname(target));
    await mkdir(temporary);
  });
  let published = false;
  return {
    write: (name, texts) =>
      guarded(async () => {
        await using file = await open(join(temporary, name), "wx");
        const written = await writeAll(file, texts, signal);
        await file.sync();
        return written;
      }),
    publish: () =>
      guarded(async () => {
        await sync(temporary);
        signal.throwIfAborted();
        await rename(temporary, target);
        published = true;
        await sync(dirname(target));
      }),
    async [Symbol.asyncDispose]() {
      if (!published) await rm(temporary, { recursive: true, force: true });
    },
  };
}

async function writeAll(
  file: FileHandle,
  texts: Iterable<string>,
  signal: AbortSignal,
): Promise<WrittenText> {
  const hash = createHash("sha256");
  const buffer = Buffer.alloc(BUFFER_BYTES);
  let bytes = 0;
  let used = 0;
  const put = async (chunk: Uint8Array): Promise<void> => {
    signal.throwIfAborted();
    await file.writeFile(hashed(hash, chunk));
    bytes += chunk.byteLength;
  };
  for (const text of texts) {
    const most = text.length * BYTES_PER_UNIT;
    if (used + most > buffer.length) {
      await put(buffer.subarray(0, used));
      used = 0;
    }
    if (most > buffer.length) await put(Buffer.from(text));
    else used += buffer.write(text, used);
  }
  await put(buffer.subarray(0, used));
  return { bytes, sha256: hash.digest("hex") };
}

function hashed(hash: Hash, chunk: Uint8Array): Uint8Array {
  hash.update(chunk);
  return chunk;
}

/** One by one from the top: with `recursive`, Node retries for ever where the kernel answers ENOENT, as below /proc. */
async function makeFolder(path: string): Promise<void> {
  if (existsSync(path)) return;
  if (path !== dirname(path)) await makeFolder(dirname(path));
  await mkdir(path);
}

async function sync(folder: string): Promise<void> {
  await using handle = await open(folder);
  await handle.sync();
}

/** Throws `NeedsOperator` where a folder has files already. */
export async function requireUnused(path: string): Promise<void> {
  const files = await guard(path, () =>
    readdir(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return [];
      throw error;
    }),
  );
  if (files.length === 0) return;
  throw new NeedsOperator(`there are files in ${path} already`, {
    reason: "out_not_empty",
    hint: "give another folder with --out, or take away what is there",
  });
}

/** What the file system says no with. */
const REFUSALS: Readonly<Record<string, string>> = {
  EACCES: "give this user write access to the folder that it is in, or another one with --out",
  EPERM: "give this user write access to the folder that it is in, or another one with --out",
  EROFS: "give a folder on a disk that can be written, with --out",
  ENOENT: "there can be no folder: give another one with --out",
  ENOTDIR: "a part of the path is a file: give another one with --out",
  EEXIST: "a part of the path is a file: give another one with --out",
  ENOTEMPTY: "somebody wrote to it meanwhile: give another folder with --out",
  EBUSY: "it is a mount point, which can not be renamed to: give a folder below it with --out",
  ENOSPC: "give it more room, or a folder on another disk with --out, or a longer --step",
  EDQUOT: "give it more room, or a folder on another disk with --out, or a longer --step",
};

async function guard<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    const { code = "", message } = cause as NodeJS.ErrnoException;
    const hint = REFUSALS[code];
    if (hint === undefined) throw cause;
    throw new NeedsOperator(`${path} can not be written: ${message}`, {
      reason: "out_not_writable",
      hint,
      cause,
    });
  }
}
