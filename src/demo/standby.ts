// Streaming standbys of running servers. pg_basebackup is not among the embedded binaries, so the files are copied between
// pg_backup_start and pg_backup_stop, which is what it does.

import { execFile } from "node:child_process";
import { chmod, chown, mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { must } from "../errors.ts";
import { type Lsn, formatLsn, parseLsn } from "../lsn.ts";
import { type Server, startServer } from "./server.ts";
import { serverLsn, until } from "./waiting.ts";

const run = promisify(execFile);

export type Settings = Readonly<Record<string, string>>;

export interface StandbyOptions {
  /** Of the server, over those that every standby here has. */
  readonly settings?: Settings;
  /** False: starts without a primary to stream from; it replays what was copied, and waits. Default true. */
  readonly attached?: boolean;
  /** TCP port, e.g. that of another one that is gone. Default: a free one. */
  readonly port?: number;
}

export interface Standby extends Server {
  /** Name of its physical slot on whatever it streams from. */
  readonly slot: string;
  /** Waits until everything up to here is replayed. */
  waitReplayed(lsn: Lsn): Promise<void>;
  /** Waits until everything that is flushed on that server now is replayed here. */
  waitFor(primary: Server): Promise<void>;
  /** Resolves when it takes writes. */
  promote(): Promise<void>;
  /** Streams from that server from now on, with a physical slot there. */
  repointTo(other: Server): Promise<void>;
  /** Resolves when nothing is replayed any more. */
  pauseReplay(): Promise<void>;
  resumeReplay(): Promise<void>;
}

let made = 0;

/**
 * Makes a standby of a running server and starts it. Nobody may create or drop tables while it is copied; rows may be
 * written. Disposing removes it, but not its slot on the primary.
 */
export async function standbyOf(primary: Server, options: StandbyOptions = {}): Promise<Standby> {
  made += 1;
  const slot = `standby_${process.pid}_${made}`;
  await createPhysicalSlot(primary, slot);
  await using stack = new AsyncDisposableStack();
  const root = await mkdtemp(join(tmpdir(), "firstlight-standby-"));
  stack.defer(async () => rm(root, { recursive: true, force: true }));
  // As root the server runs as another user, who must get here.
  await chmod(root, 0o755);
  await backUp(primary, join(root, "pgdata"));
  const server = stack.use(
    await startServer({
      dataDir: root,
      ...(options.port === undefined ? {} : { port: options.port }),
      settings: {
        ...(options.attached === false ? {} : upstream(primary, slot)),
        hot_standby_feedback: "on",
        wal_retrieve_retry_interval: "100ms",
        wal_receiver_status_interval: "1s",
        fsync: "off",
        ...options.settings,
      },
    }),
  );
  // What it holds is thrown away: a polite stop would only take time.
  stack.defer(async () => server.stop("immediate"));
  const owned = stack.move();
  return {
    ...server,
    slot,
    ...control(server, slot),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function control(server: Server, slot: string): Omit<Standby, keyof Server | "slot"> {
  const waitReplayed = async (lsn: Lsn): Promise<void> =>
    until(
      `replayed up to ${formatLsn(lsn)}`,
      async () => (await serverLsn(server.url())) >= lsn,
      60_000,
    );
  return {
    waitReplayed,
    waitFor: async (primary) => waitReplayed(await serverLsn(primary.url())),
    async promote() {
      // Does not wait by itself: it would report a slow machine as a failure.
      await ask(server, "select pg_promote(false)");
      await until("promoted", async () => {
        const [row] = await ask<{ standby: boolean }>(
          server,
          "select pg_is_in_recovery() as standby",
        );
        return row?.standby === false;
      });
    },
    async repointTo(other) {
      await createPhysicalSlot(other, slot);
      await configure(server, upstream(other, slot));
    },
    async pauseReplay() {
      await ask(server, "select pg_wal_replay_pause()");
      await until("replay is paused", async () => {
        const [row] = await ask<{ state: string }>(
          server,
          "select pg_get_wal_replay_pause_state() as state",
        );
        return row?.state === "paused";
      });
    },
    resumeReplay: async () => void (await ask(server, "select pg_wal_replay_resume()")),
  };
}

/** How a standby finds its primary. A database is named for those that synchronise slots. */
function upstream(primary: Server, slot: string): Settings {
  return {
    primary_conninfo: `host=127.0.0.1 port=${primary.port} user=postgres dbname=postgres`,
    primary_slot_name: slot,
  };
}

/** Changes settings of a running server; takes effect when it has read them. */
export async function configure(server: Server, settings: Settings): Promise<void> {
  for (const [name, value] of Object.entries(settings))
    await ask(server, `alter system set ${name} = ${pg.escapeLiteral(value).trimStart()}`);
  await ask(server, "select pg_reload_conf()");
}

/**
 * Writes the record of running transactions that every standby's new slot waits for. Gives its end.
 */
export async function logStandbySnapshot(primary: Server): Promise<Lsn> {
  const [row] = await ask<{ lsn: string }>(
    primary,
    "select pg_log_standby_snapshot()::text as lsn",
  );
  return parseLsn(must(row, "no record").lsn);
}

/** Writes such a record ten times a second until disposed: where waiting for one is not what is tested. */
export function keepLogging(primary: Server): AsyncDisposable {
  const done = new AbortController();
  const loop = async (): Promise<void> => {
    await using client = await connect(primary.url());
    while (!done.signal.aborted) {
      await client.query("select pg_log_standby_snapshot(), pg_sleep(0.1)");
    }
  };
  // Whoever stops the primary ends this, too.
  const running = loop().catch(() => undefined);
  return {
    async [Symbol.asyncDispose]() {
      done.abort();
      await running;
    },
  };
}

/** Runs one statement as superuser in database `postgres`, on a connection of its own. */
export async function ask<R extends pg.QueryResultRow>(server: Server, sql: string): Promise<R[]> {
  await using client = await connect(server.url());
  return (await client.query<R>(sql)).rows;
}

/** A client that ends when it is disposed, and survives the end of its server. */
export async function connect(url: string): Promise<pg.Client & AsyncDisposable> {
  const client = new pg.Client(url);
  client.on("error", () => undefined);
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: async () => client.end() });
}

async function createPhysicalSlot(server: Server, slot: string): Promise<void> {
  await ask(
    server,
    `select pg_create_physical_replication_slot('${slot}', true)
     where not exists (select from pg_replication_slots where slot_name = '${slot}')`,
  );
}

/** What pg_basebackup leaves out: these folders are empty in a copy, and these files belong to the running server. */
const EMPTIED = [
  "pg_wal",
  "pg_replslot",
  "pg_dynshmem",
  "pg_notify",
  "pg_serial",
  "pg_snapshots",
  "pg_stat_tmp",
  "pg_subtrans",
];
const LEFT_OUT = ["postmaster.pid", "postmaster.opts", "backup_label", "standby.signal"];

async function backUp(primary: Server, to: string): Promise<void> {
  const owner = await stat(primary.dataDir);
  const own = async (path: string): Promise<void> => chown(path, owner.uid, owner.gid);
  const write = async (name: string, content: string): Promise<void> => {
    await writeFile(join(to, name), content);
    await own(join(to, name));
  };
  await mkdir(to, { mode: 0o700 });
  await own(to);
  await using client = await connect(primary.url());
  await client.query("select pg_backup_start('standby', true)");
  const entries = (await readdir(primary.dataDir)).filter(
    (name) => !EMPTIED.includes(name) && !LEFT_OUT.includes(name),
  );
  await run("cp", ["-a", ...entries.map((name) => join(primary.dataDir, name)), to]);
  for (const name of EMPTIED) {
    await mkdir(join(to, name), { mode: 0o700 });
    await own(join(to, name));
  }
  const { rows } = await client.query<{ labelfile: string }>(
    "select labelfile from pg_backup_stop(false)",
  );
  await write("backup_label", must(rows[0], "no backup label").labelfile);
  await write("standby.signal", "");
}
