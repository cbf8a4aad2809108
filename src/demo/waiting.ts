// Waiting for what another process does.

import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { must } from "../errors.ts";
import { type Lsn, parseLsn } from "../lsn.ts";

/** Asks again until the condition holds. Throws with the description after the deadline, in milliseconds. */
export async function until(
  what: string,
  condition: () => Promise<boolean> | boolean,
  deadlineMs = 20_000,
): Promise<void> {
  const deadline = Date.now() + deadlineMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`timed out: ${what}`);
    await sleep(20);
  }
}

/** End of the WAL that is flushed now; on a standby, that is replayed. */
export async function serverLsn(url: string): Promise<Lsn> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    const { rows } = await client.query<{ lsn: string }>(
      `select (case when pg_is_in_recovery() then pg_last_wal_replay_lsn()
                    else pg_current_wal_flush_lsn() end)::text as lsn`,
    );
    return parseLsn(must(rows[0], "no position").lsn);
  } finally {
    await client.end();
  }
}
