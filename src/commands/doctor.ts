// `firstlight doctor`: everything that a follower needs, tried rather than believed, each finding with its fix. It writes nothing:
// no slot, no publication, no table, and its session is read-only.

import type { Config } from "../config.ts";
import { NeedsOperator, Transient } from "../errors.ts";
import { type Diagnosis, type Seen, problems, saidBy } from "../postgres/doctor/diagnosis.ts";
import { privilegesOf, privilegesVerdict } from "../postgres/doctor/privileges.ts";
import {
  publicationProblems,
  publicationsVerdict,
  publishedTables,
} from "../postgres/doctor/publications.ts";
import { refusal, tryWays } from "../postgres/doctor/reach.ts";
import { serverFacts, serverVerdict, tryDecoding } from "../postgres/doctor/server.ts";
import { lookAtSlot } from "../postgres/doctor/slot.ts";
import { publicationState } from "../postgres/publication.ts";
import { checkRequirements } from "../postgres/requirements.ts";
import { type Session, openSession } from "../postgres/session.ts";

import { maskPasswords } from "../log.ts";
import { slotLagLimit } from "../pipeline/observe.ts";
import { estimate, estimateText, measure } from "./doctor/estimate.ts";
import { familiesNote } from "./doctor/families.ts";
import { type Report, isFinding, reportJson, reportText } from "./doctor/report.ts";
import { storeFacts, storeVerdict } from "./doctor/store.ts";

/** All that is asked is small. */
const ANSWER_WITHIN_MS = 30_000;
const MEASURE_MS = 2_000;
/** A heartbeat comes every 15 s, from many agents. */
const ESTIMATE_MS = 10_000;
/** Publications have lists from here on; older servers are refused. */
const OLDEST = 130_000;

export type DoctorConfig = Pick<
  Config,
  | "database"
  | "slot"
  | "publication"
  | "statePath"
  | "baseline"
  | "maxSlotLag"
  | "agentLabels"
  | "families"
  | "metricPrefix"
>;

export interface DoctorOptions {
  readonly config: DoctorConfig;
  /** One JSON document instead of text. */
  readonly json: boolean;
  /** Instead of checking say what following would take. */
  readonly estimate: boolean;
  /** How long the server's WAL is watched for its rate, in milliseconds. Default 2 s, for an estimate 10 s. */
  readonly measureMs?: number;
  /** Takes text for standard output. */
  readonly out: (text: string) => void;
  readonly signal: AbortSignal;
}

type Examination = Omit<DoctorOptions, "out" | "json" | "estimate">;

/** Checks, prints, and returns how many findings there are; notes are none. */
export async function doctorCommand({ out, json, ...options }: DoctorOptions): Promise<number> {
  const report = options.estimate
    ? await estimated(options, { out, json })
    : await examine(options);
  if (report === null) return 0;
  out(maskPasswords(json ? reportJson(report) : reportText(report)));
  return report.findings.filter(isFinding).length;
}

/** Prints what following would take; where that can not be asked, gives the finding. */
async function estimated(
  options: Examination,
  { out, json }: Pick<DoctorOptions, "out" | "json">,
): Promise<Report | null> {
  const { config, signal, measureMs = ESTIMATE_MS } = options;
  const opened = await open(options);
  if ("check" in opened) return { findings: [opened], about: [] };
  await using session = opened;
  const figures = estimate(await measure(session, { measureMs, signal }), config);
  out(json ? `${JSON.stringify({ estimate: figures }, null, 2)}\n` : estimateText(figures));
  return null;
}

/** Runs every check that can be run: what can not be reached hides what lies behind it, and nothing else. */
export async function examine(options: Examination): Promise<Report> {
  const { config } = options;
  const database = await examineDatabase(options);
  const findings = [
    ...database.found,
    ...storeVerdict(storeFacts(config.statePath)),
    ...familiesNote(config),
  ];
  return { findings, about: database.about };
}

async function examineDatabase(options: Examination): Promise<Seen> {
  const opened = await open(options);
  if ("check" in opened) return { found: [opened], about: [] };
  await using session = opened;
  const found: Diagnosis[] = [];
  const about: string[] = [];
  for (const look of [lookAtServer, lookAtPublications, lookAtRole, lookAtOurSlot]) {
    try {
      const seen = await look(session, options);
      found.push(...seen.found);
      about.push(...seen.about);
      if (seen.last) break;
    } catch (error) {
      // A connection that breaks half-way, a right that not even the catalogs' readers have.
      const said = saidBy(error);
      if (said === null || options.signal.aborted) throw error;
      found.push({ check: "database", severity: "problem", problem: said.message, fix: said.hint });
      if (session.lost.aborted) break;
    }
  }
  return { found: withoutEchoes(found), about };
}

/** The session, or why there is none. */
async function open({
  config,
  signal,
}: Pick<DoctorOptions, "config" | "signal">): Promise<Session | Diagnosis> {
  let address = {};
  try {
    const clientConfig = await config.database();
    address = clientConfig;
    const session = await openSession(clientConfig, { signal, answerWithinMs: ANSWER_WITHIN_MS });
    await session.query(
      "select pg_catalog.set_config('default_transaction_read_only', 'on', false)",
    );
    return session;
  } catch (error) {
    if (signal.aborted || !(error instanceof NeedsOperator || error instanceof Transient))
      throw error;
    return refusal("connection", error, address);
  }
}

type Look = (session: Session, options: Examination) => Promise<Seen & { readonly last?: boolean }>;

const lookAtServer: Look = async (session, { config, signal }) => {
  const facts = await serverFacts(session);
  const clientConfig = await config.database();
  const ways = { clientConfig, session, signal, answerWithinMs: ANSWER_WITHIN_MS };
  const found = await tryWays(ways);
  const requirements = problems(await checkRequirements(session, config));
  found.push(...requirements.filter(({ check }) => !OF_PUBLICATION.has(check)));
  const about = [`server: Postgres ${facts.version}, ${facts.standby ? "a standby" : "a primary"}`];
  if (facts.number < OLDEST) return { found, about, last: true };
  found.push(...serverVerdict(facts), ...(await tryDecoding(session, facts)));
  return { found, about };
};

const OF_PUBLICATION: ReadonlySet<string> = new Set(["publication", "replica_identity"]);

const lookAtPublications: Look = async (session, { config }) => {
  const { publication } = config;
  const { fingerprint, findings } = await publicationState(session, publication);
  const tables = await publishedTables(session);
  return {
    found: [
      ...publicationProblems(findings, publication, fingerprint !== undefined),
      ...publicationsVerdict(tables, publication),
    ],
    about: [],
  };
};

const lookAtRole: Look = async (session) => ({
  found: privilegesVerdict(await privilegesOf(session)),
  about: [],
});

const lookAtOurSlot: Look = async (session, { config, signal, measureMs = MEASURE_MS }) => {
  const { slot } = config;
  const limit = await slotLagLimit({ config, session });
  return lookAtSlot({ session, slot, limit, measureMs, signal });
};

/** A role that may not replicate is told once, though the connection is refused for it, too. */
function withoutEchoes(found: readonly Diagnosis[]): readonly Diagnosis[] {
  const told = found.some(({ check }) => check === "role");
  return told ? found.filter(({ check }) => check !== "replication") : found;
}
