// A replication connection of our own: for what the replication library has no word for. Who answers, which timelines it
// went through, and which of the servers behind one address it is.

import pg from "pg";
import { NeedsOperator, must } from "../errors.ts";
import { type Lsn, parseLsn } from "../lsn.ts";
import { classify } from "./errors.ts";
import {
  CONNECT_OPTIONS,
  SESSION_SETTINGS,
  type Session,
  type SessionOptions,
  goodbye,
} from "./session.ts";

/** Who answers on the other side (IDENTIFY_SYSTEM). A primary and its standbys are one system. */
export interface System {
  readonly systemId: string;
  readonly timeline: number;
}

/** Which server of the system it is: its own address as it sees it (empty on a Unix socket), and when it was started. */
export interface Server {
  readonly address: string;
  readonly startedAt: string;
}

/** Connects as a walsender. When `signal` aborts, the connection is closed at once. Throws classed errors. */
export async function openWalsender(
  clientConfig: pg.ClientConfig,
  { signal, answerWithinMs }: SessionOptions,
): Promise<AsyncDisposable & { readonly client: pg.Client }> {
  signal.throwIfAborted();
  const client = new pg.Client({
    ...CONNECT_OPTIONS,
    ...(answerWithinMs === undefined ? {} : { query_timeout: answerWithinMs }),
    ...clientConfig,
    replication: "database",
  } as pg.ClientConfig);
  client.on("error", () => undefined); // the pending query rejects with the same error
  const abort = (): void => void client.connection.stream.destroy();
  signal.addEventListener("abort", abort, { once: true });
  const close = async (): Promise<void> => {
    signal.removeEventListener("abort", abort);
    await goodbye(client);
  };
  try {
    await client.connect();
    for (const statement of SESSION_SETTINGS) await client.query(statement);
    return { client, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw signal.aborted ? signal.reason : classify(error);
  }
}

/** Asks a replication connection who it is. */
export async function identifySystem(client: pg.Client): Promise<System> {
  const { rows } = await client.query<{ systemid: string; timeline: number }>("IDENTIFY_SYSTEM");
  const row = must(rows[0], "IDENTIFY_SYSTEM gave no row");
  return { systemId: row.systemid, timeline: Number(row.timeline) };
}

const SERVER = `
  select coalesce(pg_catalog.host(pg_catalog.inet_server_addr()) || ':' || pg_catalog.inet_server_port(), '') as address,
    pg_catalog.pg_postmaster_start_time()::text as "startedAt"`;

/** Asks a replication connection which server it reached. */
export async function whichServer(client: pg.Client): Promise<Server> {
  return must((await client.query<Server>(SERVER)).rows[0], "no server address");
}

/** Asks a replication connection for its `server_version_num`. */
export async function versionOf(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ version: number }>(
    "select current_setting('server_version_num')::int as version",
  );
  return Number(must(rows[0], "no server version").version);
}

/** Asks a session which server it reached. */
export async function serverOf(session: Session): Promise<Server> {
  return must(
    (await session.query<{ address: string; startedAt: string }>(SERVER))[0],
    "no server",
  );
}

/** All connections of one attempt must reach one server. Throws `NeedsOperator` when a load balancer spread them. */
export function requireSameServer(one: Server, other: Server): void {
  if (one.address === other.address && one.startedAt === other.startedAt) return;
  throw new NeedsOperator(
    `two connections reached two servers (${describe(one)} and ${describe(other)})`,
    {
      reason: "load_balanced",
      hint: "point --database-url at one server: a slot lives on the server that made it, and behind a load balancer, a pooler or a DNS name with several addresses it is found only by chance",
    },
  );
}

function describe({ address, startedAt }: Server): string {
  return `${address || "on a socket"}, started ${startedAt}`;
}

export interface Answer {
  readonly system: System;
  readonly server: Server;
  /** Where this server's history left the timeline that was asked about; null: it did not, or never was on it. */
  readonly forkedAt: Lsn | null;
}

/**
 * Connects for a moment to ask who answers, and where its history left `timeline` (null: not asked). Also proves that this
 * role may replicate. Throws classed errors.
 */
export async function whoAnswers(
  clientConfig: pg.ClientConfig,
  { timeline, ...options }: SessionOptions & { readonly timeline: number | null },
): Promise<Answer> {
  const { signal } = options;
  await using connection = await openWalsender(clientConfig, options);
  const { client } = connection;
  try {
    const system = await identifySystem(client);
    const server = await whichServer(client);
    const forked = timeline !== null && timeline !== system.timeline;
    const history = forked ? await timelineHistory(client, system.timeline) : "";
    return { system, server, forkedAt: forked ? forkPoint(history, timeline) : null };
  } catch (error) {
    throw signal.aborted ? signal.reason : classify(error);
  }
}

/** The history file of a timeline; empty for the first one, which has none. */
async function timelineHistory(client: pg.Client, timeline: number): Promise<string> {
  if (timeline === 1) return "";
  const { rows } = await client.query<{ content: Buffer | string }>(`TIMELINE_HISTORY ${timeline}`);
  return String(must(rows[0], "TIMELINE_HISTORY gave no row").content);
}

/**
 * Where a history left a timeline, or null if it never was on it. Lines are `parent TAB switchpoint TAB reason`
 * (https://www.postgresql.org/docs/18/continuous-archiving.html#BACKUP-TIMELINES).
 */
export function forkPoint(history: string, timeline: number): Lsn | null {
  for (const line of history.split("\n")) {
    const [, parent, at] = /^\s*(\d+)\s+([0-9a-fA-F]+\/[0-9a-fA-F]+)/.exec(line) ?? [];
    if (at !== undefined && Number(parent) === timeline) return parseLsn(at);
  }
  return null;
}
