// Silence of the server: a query may decode for long without a word, so it is asked about on another connection.

import type { Session } from "./session.ts";

/** Whether this backend is running a query now, as the session beside it is told. Throws classed errors. */
export async function isRunning(beside: Session, pid: number): Promise<boolean> {
  const [backend] = await beside.query<{ state: string | null }>(
    "select state from pg_catalog.pg_stat_activity where pid = $1",
    [pid],
  );
  return backend?.state === "active";
}
