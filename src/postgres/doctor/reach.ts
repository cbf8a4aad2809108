// Whether the server can be reached the way a follower reaches it: SQL sessions and a replication connection, all to one server,
// with nobody in between who changes what they mean.

import { isIP } from "node:net";
import pg from "pg";
import { NeedsOperator, Transient } from "../../errors.ts";
import { codeOf } from "../errors.ts";
import { type Session, openSession } from "../session.ts";
import { type Server, requireSameServer, serverOf, whoAnswers } from "../walsender.ts";
import { type Diagnosis, saidBy } from "./diagnosis.ts";

/** Sessions that are opened beside the first: a load balancer of two servers hides from all of them once in sixteen times. */
const MORE_SESSIONS = 3;

const DIRECTLY =
  "name Postgres itself in --database-url: its own address and port, not those of a pooler or a load balancer";

/** Who connects where. */
export type Address = Pick<pg.ClientConfig, "host" | "port" | "user" | "database">;

/** Why no connection could be made, with what to do. Throws what is no error of a connection. Pure. */
export function refusal(
  check: string,
  error: unknown,
  { host, port, user, database }: Address,
): Diagnosis {
  if (!(error instanceof NeedsOperator || error instanceof Transient)) throw error;
  // A host with several addresses gives an error of several, which has no message of its own.
  const message = error.message || codeOf(error) || error.reason;
  const where = `${host ?? "localhost"}:${port ?? 5432}`;
  const problem = `${where} does not let ${user ?? "this user"} into database ${database ?? user ?? "postgres"}: ${message}`;
  return { check, severity: "problem", problem, fix: refusalFix(error, { user, database }) };
}

function refusalFix(error: NeedsOperator | Transient, { user, database }: Address): string {
  const role = pg.escapeIdentifier(user ?? "firstlight");
  const name = pg.escapeIdentifier(database ?? user ?? "coder");
  switch (codeOf(error)) {
    case "28000": {
      const address = addressIn(error.message);
      return address === null
        ? `alter role ${role} with login; -- if there is no such role: \`firstlight setup\` prints the SQL that creates it`
        : [
            "# a line for pg_hba.conf on the server, above any that rejects; then: select pg_reload_conf();",
            `host ${name} ${role} ${address}/${isIP(address) === 6 ? 128 : 32} scram-sha-256`,
          ].join("\n");
    }
    case "28P01":
      return `put the right password into --database-url, or give the role that one: \\password ${role} in psql`;
    case "3D000":
      return "name Coder's own database at the end of --database-url";
    case "42501":
      return `grant connect on database ${name} to ${role};`;
    case "53300":
      return `alter role ${role} connection limit -1; -- or raise max_connections, and restart`;
  }
  if (error instanceof NeedsOperator) return error.hint;
  if (error.reason === "secret_unreadable")
    return "let this user read the file with the database URL, and the files that it names";
  return "check host and port in --database-url, that the server runs and listens there (listen_addresses), and that no firewall is in between";
}

/** The address that the server names when pg_hba.conf has no line for it: quoted in every language. */
function addressIn(message: string): string | null {
  const quoted = [...message.matchAll(/[“”«»„"']([0-9a-fA-F.:]+)[“”«»„"']/g)];
  return quoted.map(([, text = ""]) => text).find((text) => isIP(text) !== 0) ?? null;
}

/**
 * A pooler gives each client a process number of its own making, because a cancel request must come to it. Pure.
 */
export function poolerVerdict(told: number | null, asked: number): Diagnosis[] {
  if (told === null || told === asked) return [];
  const problem =
    "a connection pooler is in between: the process that answers is another than the one that was connected to";
  return [{ check: "pooler", severity: "problem", problem, fix: DIRECTLY }];
}

export interface Ways {
  readonly clientConfig: pg.ClientConfig;
  readonly session: Session;
  readonly signal: AbortSignal;
  readonly answerWithinMs: number;
}

/** Tries the other connections of a follower. */
export async function tryWays(ways: Ways): Promise<Diagnosis[]> {
  const { processID } = ways.session.client as pg.Client & { processID?: number | null };
  const found = poolerVerdict(processID ?? null, ways.session.pid);
  const first = await serverOf(ways.session);
  try {
    const { server } = await whoAnswers(ways.clientConfig, { ...ways, timeline: null });
    found.push(...sameServer(first, server));
  } catch (error) {
    ways.signal.throwIfAborted();
    found.push(replicationRefusal(error, ways.clientConfig));
  }
  for (let i = 0; i < MORE_SESSIONS && !found.some(isSpread); i += 1) {
    try {
      await using another = await openSession(ways.clientConfig, ways);
      found.push(...sameServer(first, await serverOf(another)));
    } catch (error) {
      ways.signal.throwIfAborted();
      return [...found, refusal("connection", error, ways.clientConfig)];
    }
  }
  return found;
}

function replicationRefusal(error: unknown, clientConfig: pg.ClientConfig): Diagnosis {
  const refused = refusal("replication", error, clientConfig);
  // The role may not: the check of the role has the same fix.
  const fix = codeOf(error) === "08P01" ? DIRECTLY : refused.fix;
  const message = saidBy(error)?.message ?? "";
  return { ...refused, fix, problem: `no replication connection: ${message}` };
}

const isSpread = ({ check }: Diagnosis): boolean => check === "load_balancer";

function sameServer(one: Server, other: Server): Diagnosis[] {
  try {
    requireSameServer(one, other);
    return [];
  } catch (error) {
    const said = saidBy(error);
    if (said === null) throw error;
    const { message: problem, hint: fix } = said;
    return [{ check: "load_balancer", severity: "problem", problem, fix }];
  }
}
