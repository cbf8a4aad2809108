// What an error from Postgres or from the way to it means for us: try again, call an operator, or neither (a bug).
// One table by SQLSTATE or errno; message texts change between server versions and are never looked at.

import { NeedsOperator, Transient } from "../errors.ts";

interface Meaning {
  /** A stable word for logs and metric labels. */
  readonly reason: string;
  /** Present: retrying alone will not help, and this is what to do. Absent: time may heal it. */
  readonly hint?: string;
}

const CONNECTION_LOST: Meaning = { reason: "connection_lost" };
const UNREACHABLE: Meaning = { reason: "unreachable" };
const SERVER_STOPPING: Meaning = { reason: "server_stopping" };
const NO_RESOURCES: Meaning = { reason: "server_resources" };
const CANCELED: Meaning = { reason: "canceled" };
const AUTHENTICATION: Meaning = {
  reason: "authentication",
  hint: "check the user name and the password in the database URL",
};
const TLS: Meaning = {
  reason: "tls",
  hint: "give the server's CA with --database-ca, or choose another sslmode in the database URL (disable, require, verify-ca, verify-full)",
};
const SCHEMA: Meaning = {
  reason: "schema",
  hint: "check that the URL names Coder's own database and that Coder is 2.24 or newer",
};

/** SQLSTATEs (five characters, or a class of two) and the codes that Node gives to sockets, DNS and TLS. */
const MEANINGS: Readonly<Record<string, Meaning>> = {
  "08": CONNECTION_LOST,
  "08P01": {
    reason: "protocol",
    hint: "connect to Postgres itself: a connection pooler can not pass on the replication protocol",
  },
  "0A000": {
    reason: "not_supported",
    hint: "this server can not do what is asked; logical decoding on a standby needs Postgres 16 or newer",
  },
  "22023": {
    reason: "setting_refused",
    hint: "the server refuses a setting or an option of ours: check that it is Postgres 13 or newer itself, not a pooler or a fork",
  },
  "25P03": { reason: "idle_timeout" },
  "25P04": { reason: "idle_timeout" },
  "25006": { reason: "read_only", hint: "run this on the primary: a standby takes no changes" },
  "28000": {
    reason: "not_admitted",
    hint: "check that the role exists and may log in, that pg_hba.conf admits this address, and whether the server insists on TLS (add ?sslmode=require to the database URL)",
  },
  "28P01": AUTHENTICATION,
  "3D000": {
    reason: "no_such_database",
    hint: "check the database name at the end of the database URL",
  },
  "40": { reason: "conflict" },
  "42501": {
    reason: "privileges",
    hint: "run `firstlight setup` and have an administrator run the SQL that it prints",
  },
  "42703": SCHEMA,
  "42704": {
    reason: "object_missing",
    hint: "the publication or the slot is missing: `firstlight setup` prints the SQL that creates what is needed",
  },
  "42710": { reason: "slot_in_use" },
  "42P01": SCHEMA,
  "53": NO_RESOURCES,
  "53300": { reason: "too_many_connections" },
  "53400": {
    reason: "no_free_slot",
    hint: "drop unused replication slots or raise max_replication_slots (needs a restart of the server)",
  },
  // "initial slot snapshot too large": too many transactions are open at once just now.
  "54": { reason: "server_limit" },
  "55000": {
    reason: "slot_unusable",
    hint: "look at wal_status and invalidation_reason in pg_replication_slots, and at wal_level",
  },
  "55006": { reason: "slot_in_use" },
  "55P03": { reason: "lock_not_available" },
  "57014": CANCELED,
  "57P01": SERVER_STOPPING,
  "57P02": SERVER_STOPPING,
  "57P03": SERVER_STOPPING,
  "57P04": { reason: "no_such_database", hint: "the database was dropped: check the database URL" },
  "57P05": { reason: "idle_timeout" },
  "58": { reason: "server_failure" },
  XX: { reason: "server_failure" },

  EADDRNOTAVAIL: UNREACHABLE,
  EAI_AGAIN: UNREACHABLE,
  EAI_FAIL: UNREACHABLE,
  ECONNREFUSED: UNREACHABLE,
  EHOSTDOWN: UNREACHABLE,
  EHOSTUNREACH: UNREACHABLE,
  ENETDOWN: UNREACHABLE,
  ENETUNREACH: UNREACHABLE,
  // A name that is not there may be one that is not there yet: services appear in DNS after we start.
  ENOTFOUND: UNREACHABLE,
  // A server on a Unix socket that is not up, or is restarting.
  ENOENT: UNREACHABLE,
  ETIMEDOUT: UNREACHABLE,
  EMFILE: NO_RESOURCES,
  ENETRESET: CONNECTION_LOST,
  ECONNABORTED: CONNECTION_LOST,
  ECONNRESET: CONNECTION_LOST,
  EPIPE: CONNECTION_LOST,

  CERT_HAS_EXPIRED: TLS,
  CERT_NOT_YET_VALID: TLS,
  DEPTH_ZERO_SELF_SIGNED_CERT: TLS,
  EPROTO: TLS,
  ERR_TLS_CERT_ALTNAME_INVALID: TLS,
  SELF_SIGNED_CERT_IN_CHAIN: TLS,
  UNABLE_TO_GET_ISSUER_CERT: TLS,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: TLS,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: TLS,
};

/**
 * The errors that `pg` itself makes carry no code, so their text is all there is. These are constants of the library,
 * pinned by our lockfile, not words of the server; each is matched from its beginning.
 */
const WITHOUT_CODE: readonly (readonly [start: string, meaning: Meaning])[] = [
  ["Connection terminated", CONNECTION_LOST],
  ["Client has encountered a connection error", CONNECTION_LOST],
  ["Client was closed", CONNECTION_LOST],
  ["timeout expired", UNREACHABLE],
  ["Query read timeout", { reason: "no_answer" }],
  ["There was an error establishing an SSL connection", UNREACHABLE],
  ["The server does not support SSL connections", TLS],
  ["SASL: ", AUTHENTICATION],
];

const SQLSTATE = /^[0-9A-Z]{5}$/;

/**
 * The error to throw instead of `error`: a `Transient` or a `NeedsOperator` that keeps its message and has it as cause.
 * Errors that are classed already, aborts, and everything unknown (a bug) come back unchanged.
 */
export function classify(error: unknown): Error {
  if (!(error instanceof Error)) return new Error(String(error));
  if (error instanceof Transient || error instanceof NeedsOperator || error.name === "AbortError")
    return error;
  const meaning = meaningOf(error);
  if (meaning === undefined) return error;
  const { reason, hint } = meaning;
  return hint === undefined
    ? new Transient(error.message, { reason, cause: error })
    : new NeedsOperator(error.message, { reason, hint, cause: error });
}

/** The SQLSTATE or errno of an error, also of one that was classed. */
export function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  if ("code" in error && typeof error.code === "string") return error.code;
  return codeOf(error.cause);
}

function meaningOf(error: Error): Meaning | undefined {
  const code = "code" in error && typeof error.code === "string" ? error.code : undefined;
  if (code === undefined)
    return WITHOUT_CODE.find(([start]) => error.message.startsWith(start))?.[1];
  if (code.startsWith("ERR_SSL_")) return TLS;
  return MEANINGS[code] ?? (SQLSTATE.test(code) ? MEANINGS[code.slice(0, 2)] : undefined);
}
