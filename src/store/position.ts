// The stored position of the stream, with everything that it is true of.

import type { Lsn } from "../lsn.ts";

/** Where the stream stands, and on which server, slot and publication that is true. */
export interface Position {
  readonly systemId: string;
  readonly timeline: number;
  /** Address of the server as it sees it, with its port; empty on a Unix socket, or where an older version stored it. */
  readonly server: string;
  readonly database: string;
  readonly slot: string;
  /** Fingerprint of the publication at the last good check. */
  readonly publication: string;
  /** Where the last baseline's snapshot was taken. */
  readonly consistent: Lsn;
  /** Everything up to here is in the ledger. */
  readonly end: Lsn;
}
