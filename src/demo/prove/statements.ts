// What a follower asked its database, from the server's own log.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Server } from "../server.ts";

const FILE = "statements.log";
const APPLICATION = "firstlight";

/** Settings of a server whose log is read here. Which statements are in it is a setting of the role. */
export const LOGGED: Readonly<Record<string, string>> = {
  logging_collector: "on",
  log_destination: "stderr",
  log_directory: "log",
  log_filename: FILE,
  log_rotation_age: "0",
  log_rotation_size: "0",
  log_line_prefix: "%a|%p|",
  log_parameter_max_length: "0",
};

/** What a statement is for. */
export const PURPOSES = ["slot", "names", "tables", "session"] as const;
export type Purpose = (typeof PURPOSES)[number];

export interface Asked {
  readonly counts: Readonly<Record<Purpose, number>>;
  /** Those that aggregate over Coder's tables, and not over rows that they name by key: there must be none. */
  readonly aggregates: readonly string[];
}

/** Statements of the follower on this server so far. */
export async function askedOf(server: Server): Promise<readonly string[]> {
  return statementsIn(await readFile(join(server.dataDir, "log", FILE), "utf8"));
}

const HEAD = new RegExp(
  String.raw`^${APPLICATION}\|\d+\|LOG: {2}(?:statement|execute [^:]*): (.*)$`,
);

/** A statement's further lines begin with a tab. */
export function statementsIn(log: string): readonly string[] {
  const statements: string[] = [];
  let open = false;
  for (const line of log.split("\n")) {
    const head = HEAD.exec(line);
    if (head) statements.push(head[1] ?? "");
    else if (open && line.startsWith("\t"))
      statements.push(`${statements.pop() ?? ""} ${line.slice(1)}`);
    open = head !== null || (open && line.startsWith("\t"));
  }
  return statements;
}

const OF_CODER =
  /\b(workspace_builds|workspaces|workspace_agents|workspace_resources|provisioner_jobs|templates|template_versions|template_version_presets|organizations|users)\b/;
/** Rows named by key: as many as the statement has ids. */
const BY_KEY = /= any \(|\bid = \$/;
const AGGREGATE = /\b(count|sum|min|max|avg)\s*\(|\bgroup by\b/i;

export function purposes(statements: readonly string[]): Asked {
  const counts = { slot: 0, names: 0, tables: 0, session: 0 };
  const aggregates: string[] = [];
  for (const statement of statements) {
    const purpose = purposeOf(statement);
    counts[purpose] += 1;
    const reads = purpose === "names" || purpose === "tables";
    if (reads && AGGREGATE.test(statement) && !BY_KEY.test(statement)) aggregates.push(statement);
  }
  return { counts, aggregates };
}

function purposeOf(statement: string): Purpose {
  if (/pg_logical_slot_|pg_replication_slot|pg_stat_replication|wal_lsn/.test(statement))
    return "slot";
  // What names a table by text asks the catalog.
  if (/\bpg_(class|publication|attribute)\b/.test(statement)) return "session";
  if (/^\s*copy\b/i.test(statement) && OF_CODER.test(statement)) return "tables";
  return OF_CODER.test(statement) ? "names" : "session";
}
