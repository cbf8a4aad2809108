// One SQL session: a connection that knows its settings, says when it is lost, and throws classed errors.

import pg from "pg";
import { Transient, must } from "../errors.ts";
import { classify } from "./errors.ts";

const GOODBYE_TIMEOUT_MS = 2_000;
/** After this long without a word where one is due, the server counts as gone. */
export const SILENCE_MS = 60_000;
/** How every connection is made: in 10 s or not, and after 10 s of silence the kernel asks whether the other side lives. */
export const CONNECT_OPTIONS = {
  connectionTimeoutMillis: 10_000,
  keepAlive: true,
  keepAliveInitialDelayMillis: 10_000,
} as const;

/**
 * Statements that every session runs first, replication connections too (plain text, no parameters).
 *
 * They win over `ALTER ROLE … SET` and `ALTER DATABASE … SET`: pgoutput's text follows the session, and under DateStyle
 * German no timestamp could be read; a timeout of the DBA's would cut the stream. The keepalives let a server whose client's
 * host vanished give up the slot, and the lock that stands for it, within a minute. All are settable by an ordinary role with
 * REPLICATION (tried on 18). Settings that a server does not know (`transaction_timeout` before 17) are left out by the
 * server itself, so no version is asked.
 */
export const SESSION_SETTINGS: readonly string[] = [
  `select pg_catalog.set_config(name, value, false)
   from (values
     ('DateStyle', 'ISO, MDY'),
     ('TimeZone', 'UTC'),
     ('IntervalStyle', 'postgres'),
     ('extra_float_digits', '3'),
     ('statement_timeout', '0'),
     ('lock_timeout', '0'),
     ('idle_in_transaction_session_timeout', '0'),
     ('idle_session_timeout', '0'),
     ('transaction_timeout', '0'),
     ('tcp_keepalives_idle', '10'),
     ('tcp_keepalives_interval', '10'),
     ('tcp_keepalives_count', '3'),
     ('wal_sender_timeout', '60s'),
     ('logical_decoding_work_mem', '64MB')
   ) as wanted (name, value)
   where pg_catalog.current_setting(name, true) is not null`,
];

/** Disposing says goodbye to the server and waits for the end of the connection, 2 s at most. */
export interface Session extends AsyncDisposable {
  /** Runs one statement; several, and only without values, give the rows of the last. Throws classed errors. */
  query<R extends pg.QueryResultRow>(sql: string, values?: readonly unknown[]): Promise<R[]>;
  /** Process id of the backend. */
  readonly pid: number;
  /** `server_version_num`, e.g. 180004. */
  readonly version: number;
  /** Aborted when the connection is lost or the session ends; its reason is the classed error, or the abort's own. */
  readonly lost: AbortSignal;
  /** The connection beneath, for what `query` can not do: COPY. Its errors are the caller's to class. */
  readonly client: pg.Client;
}

export interface SessionOptions {
  readonly signal: AbortSignal;
  /** A query without an answer after this long rejects: a host that vanished without a word never answers. Default: waits. */
  readonly answerWithinMs?: number;
}

/**
 * Connects (10 s at most) and applies `SESSION_SETTINGS`. When `signal` aborts, the connection is closed at once and what
 * runs on it rejects.
 */
export async function openSession(
  clientConfig: pg.ClientConfig,
  options: SessionOptions,
): Promise<Session> {
  const { signal } = options;
  signal.throwIfAborted();
  const client = new pg.Client({
    ...CONNECT_OPTIONS,
    ...(options.answerWithinMs === undefined ? {} : { query_timeout: options.answerWithinMs }),
    ...clientConfig,
  });
  const lost = new AbortController();
  client.on("error", (error) => lost.abort(classify(error)));
  client.on("end", () =>
    lost.abort(new Transient("the session has ended", { reason: "connection_lost" })),
  );
  const abort = (): void => {
    lost.abort(signal.reason);
    destroy(client);
  };
  signal.addEventListener("abort", abort, { once: true });
  // Where there was an abort, it is the reason of whatever fails.
  const failure = (error: unknown): unknown => (signal.aborted ? signal.reason : classify(error));
  const query: Session["query"] = async (sql, values) => {
    try {
      return await rowsOf(client, sql, values);
    } catch (error) {
      throw failure(error);
    }
  };
  const close = async (): Promise<void> => {
    signal.removeEventListener("abort", abort);
    await goodbye(client);
  };
  try {
    await client.connect();
    for (const statement of SESSION_SETTINGS) await query(statement);
    const [backend] = await query<{ pid: number; version: number }>(
      "select pg_catalog.pg_backend_pid() as pid, current_setting('server_version_num')::int as version",
    );
    const { pid, version } = must(backend, "no backend pid");
    return { query, pid, version, lost: lost.signal, client, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw failure(error);
  }
}

/** `pg` gives one result for one statement and a list for several, which its types do not know. */
async function rowsOf<R extends pg.QueryResultRow>(
  client: pg.Client,
  sql: string,
  values: readonly unknown[] | undefined,
): Promise<R[]> {
  const result: pg.QueryResult<R> | pg.QueryResult<R>[] = await client.query<R>(
    sql,
    values && [...values],
  );
  return (Array.isArray(result) ? must(result.at(-1), "no result") : result).rows;
}

/** Ends a connection, politely if the server answers within 2 s. */
export async function goodbye(client: pg.Client): Promise<void> {
  const timer = setTimeout(() => destroy(client), GOODBYE_TIMEOUT_MS);
  try {
    await client.end();
  } finally {
    clearTimeout(timer);
  }
}

function destroy(client: pg.Client): void {
  client.connection.stream.destroy();
}
