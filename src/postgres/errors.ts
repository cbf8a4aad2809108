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
  hint: "check the user name and the password in the database URL, or in the file that --database-password-file names; where the server asks for a client certificate, its common name must be the role's name",
};
const tls = (hint: string): Meaning => ({ reason: "tls", hint });
const STRANGER = tls(
  "nobody who is trusted here signed the server's certificate: give the CA that did with --database-ca (FIRSTLIGHT_DATABASE_CA), or sslrootcert=system in the database URL if the operating system trusts it; if the CA is right, somebody else answers there",
);
const OUR_CERTIFICATE = tls(
  "the server does not accept our client certificate: check that sslcert is valid today, comes with its intermediate certificates, and is signed by a CA in the server's ssl_ca_file",
);
const NO_TLS = tls(
  "the server has no TLS (ssl = off), or a pooler in between has none: turn it on there, or, only if nobody else is on the network between, put sslmode=disable into the database URL",
);
const PROTOCOL = tls(
  "client and server have no TLS version or cipher in common, or what answers is no Postgres: check the host and the port in the database URL, and ssl_min_protocol_version on both sides",
);
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
    hint: "check that the role exists and may log in, that pg_hba.conf admits this address, and whether the server insists on TLS (add ?sslmode=require to the database URL) or on a client certificate (add sslcert and sslkey; its common name is the role's name)",
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

  CERT_HAS_EXPIRED: tls(
    "the certificate of the server, or of a CA above it, is past its end: renew it there (the server takes the new one with pg_reload_conf()); if it looks valid, check the clock of this machine",
  ),
  CERT_NOT_YET_VALID: tls(
    "the server's certificate is not valid yet: check the clock of this machine, and the certificate's beginning",
  ),
  CERT_REVOKED: tls("the server's certificate is on the list of sslcrl: give the server a new one"),
  CERT_SIGNATURE_FAILURE: STRANGER,
  CRL_HAS_EXPIRED: tls("the list of sslcrl is past its end: replace the file by a new list"),
  DEPTH_ZERO_SELF_SIGNED_CERT: STRANGER,
  ERR_TLS_CERT_ALTNAME_INVALID: tls(
    "connect by a name that the server's certificate has, or have it issued for this one; sslmode=verify-ca does not look at the name, which is safe only where the CA signs nobody else",
  ),
  SELF_SIGNED_CERT_IN_CHAIN: STRANGER,
  UNABLE_TO_GET_CRL: tls("no list of sslcrl is of the CA that signed the server's certificate"),
  UNABLE_TO_GET_ISSUER_CERT: STRANGER,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: STRANGER,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: STRANGER,
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
  ["The server does not support SSL connections", NO_TLS],
  ["SASL: ", AUTHENTICATION],
];

/**
 * What the server's TLS says of our certificate, by RFC 8446's numbers: bad, unsupported, revoked, expired, unknown, unknown CA,
 * denied, signature wrong, required. OpenSSL ends its line with the number under each version of TLS; its codes differ
 * (`EPROTO` up to 1.2), and so do its names for one alert.
 */
const CERTIFICATE_ALERT = /SSL alert number (42|43|44|45|46|48|49|51|116)\b/;
/** OpenSSL's line: thread, error number, library, function, reason, place. */
const OPENSSL_LINE = /\berror:[0-9A-F]{8}:[^:]*:[^:]*:([^:]*):/;

const SQLSTATE = /^[0-9A-Z]{5}$/;

/**
 * The error to throw instead of `error`: a `Transient` or a `NeedsOperator` that keeps its message (of OpenSSL's, the
 * reason) and has it as cause.
 * Errors that are classed already, aborts, and everything unknown (a bug) come back unchanged.
 */
export function classify(error: unknown): Error {
  if (!(error instanceof Error)) return new Error(String(error));
  if (error instanceof Transient || error instanceof NeedsOperator || error.name === "AbortError")
    return error;
  const meaning = meaningOf(error);
  if (meaning === undefined) return error;
  const { reason, hint } = meaning;
  const line = OPENSSL_LINE.exec(error.message)?.[1];
  const message = line === undefined ? error.message : `TLS failed: ${line}`;
  return hint === undefined
    ? new Transient(message, { reason, cause: error })
    : new NeedsOperator(message, { reason, hint, cause: error });
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
  const ofTls = code === "EPROTO" || code.startsWith("ERR_SSL_");
  if (ofTls) return CERTIFICATE_ALERT.test(error.message) ? OUR_CERTIFICATE : PROTOCOL;
  return MEANINGS[code] ?? (SQLSTATE.test(code) ? MEANINGS[code.slice(0, 2)] : undefined);
}
