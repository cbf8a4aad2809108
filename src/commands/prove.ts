// `demo --prove`: a minute that convinces. A replica of a simulated Coder is followed through what makes totals wrong elsewhere,
// and after each event three numbers stand side by side: what coderd's query says, what Firstlight says, what a recount says.

import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { SECOND } from "../change/micros.ts";
import { must } from "../errors.ts";
import { whatIsLeft } from "../demo/coder/adopt.ts";
import { createCoderSchema } from "../demo/coder/schema.ts";
import { type Simulation, openSimulation } from "../demo/coder/simulation.ts";
import { Follower } from "../demo/prove/follower.ts";
import { byTemplate } from "../demo/prove/page.ts";
import { type ByTemplate, polled, recounted, sum } from "../demo/prove/polled.ts";
import { LOGGED, askedOf, purposes } from "../demo/prove/statements.ts";
import { HEAD, type Row, lineOf, moved } from "../demo/prove/table.ts";
import { type Server, freePort, startServer } from "../demo/server.ts";
import { type Standby, ask, connect, keepLogging, standbyOf } from "../demo/standby.ts";
import { serverLsn, until } from "../demo/waiting.ts";
import { setup } from "./setup.ts";

const COUNTER = "coderd_workspace_creation_total";
const ROLE = "firstlight";
const SLOT = "firstlight";
const HISTORY_SECONDS = 6 * 3600;
const FIRST_CREATES = 40;
const CREATES = 12;
const KILLS = 3;
const LIFE_MS = 1_500;
/** Often, so that the minute is not spent waiting. */
const READ_EVERY = "500ms";

const run = promisify(execFile);

export interface ProveOptions {
  /** Path of the process' own script: the follower is one more process of it. */
  readonly main: string;
  /** What the follower inherits: nothing that configures it. */
  readonly env: NodeJS.ProcessEnv;
  readonly seed: number;
  readonly signal: AbortSignal;
  /** Writes a line for the person at the terminal. */
  readonly print: (line: string) => void;
}

/** Runs it, prints the table, and says whether everything was as it must be. */
export async function prove(options: ProveOptions): Promise<boolean> {
  const { signal } = options;
  const given = Promise.withResolvers<never>();
  signal.addEventListener("abort", () => given.reject(signal.reason), { once: true });
  await using stack = new AsyncDisposableStack();
  const proof = proveOn(stack, options);
  // When it is given up, what it waits for is taken away under it.
  proof.catch(() => undefined);
  return await Promise.race([proof, given.promise]);
}

async function proveOn(
  stack: AsyncDisposableStack,
  { main, env, seed, signal, print }: ProveOptions,
): Promise<boolean> {
  const began = performance.now();
  print(
    "Firstlight proof: a primary, a replica of it, simulated Coder traffic, and `serve` on the replica …",
  );
  const folder = await mkdtemp(join(tmpdir(), "firstlight-proof-"));
  stack.defer(async () => rm(folder, { recursive: true, force: true }));
  const primary = stack.use(await startServer({ settings: { ...LOGGED, fsync: "off" } }));
  await prepare(primary, signal);
  const startAt = (Date.now() / 1_000 - HISTORY_SECONDS) * SECOND;
  const simulation = stack.use(openSimulation({ url: urlOf(primary), seed, startAt }));
  await simulation.seedDeployment();
  await traffic(simulation, FIRST_CREATES);
  const replica = stack.use(await standbyOf(primary, { settings: LOGGED }));
  const records = stack.use(keepLogging(primary));
  const port = await freePort();
  const settings = {
    ...env,
    FIRSTLIGHT_DATABASE_URL: urlOf(replica, ROLE),
    FIRSTLIGHT_STATE: join(folder, "firstlight.db"),
    FIRSTLIGHT_LISTEN: `127.0.0.1:${port}`,
    FIRSTLIGHT_READ_EVERY: READ_EVERY,
  };
  const follower = stack.use(new Follower({ main, env: settings, port }));

  const table = new Table({ follower, replica, print });
  print("");
  print(lineOf(HEAD));
  await table.row("the start: from the tables, then from the log", primary);

  await Promise.all([traffic(simulation, CREATES * 2), killed(follower)]);
  await table.row(`${KILLS} × kill -9 of Firstlight, under load`, primary);

  const [deleted, renamed] = busiest(await polled(urlOf(primary)), simulation);
  await simulation.steps.deleteTemplate(deleted);
  await table.row(`template ${deleted.name} deleted`, primary);

  const old = renamed.name;
  await simulation.workflows.renameTemplate({ template: renamed.id });
  await table.row(`template ${old} renamed; its series`, primary, old);

  await Promise.all([traffic(simulation, CREATES), dropped(replica)]);
  await table.row("the slot dropped under load", primary);

  await records[Symbol.asyncDispose]();
  await simulation[Symbol.asyncDispose]();
  await primary.stop("immediate");
  await replica.promote();
  const left = must(await whatIsLeft(urlOf(replica)), "nothing is left");
  const later = stack.use(
    openSimulation({ url: urlOf(replica), seed: seed + left.workspaces, startAt: left.newest }),
  );
  await later.adoptDeployment(left);
  await traffic(later, CREATES);
  await table.row("the primary lost, the replica promoted", replica);

  const { counts, aggregates } = purposes(await askedOf(replica));
  const { scrapes, falls } = follower.scraped;
  print("");
  print(
    `Asked of the database: ${counts.slot} statements about the slot, ${counts.names} look-ups by key, ${counts.tables} COPYs (first start, dropped slot), ${counts.session} about the session and the catalog.`,
  );
  print(
    `Aggregates over Coder's tables: ${aggregates.length}. coderd runs the query above, and others like it, every minute on each of its replicas.`,
  );
  for (const statement of aggregates) print(`  ${statement.slice(0, 200)}`);
  print(`Scraped ${scrapes} times meanwhile; series that fell or vanished: ${falls.length}.`);
  for (const fall of falls) print(`  ${fall}`);
  print(`Took ${Math.round((performance.now() - began) / 1_000)} s.`);
  const drift = await verified(main, settings);
  print(drift);
  return (
    table.agreed && falls.length === 0 && aggregates.length === 0 && drift.startsWith("drift 0 ")
  );
}

interface Watched {
  readonly follower: Follower;
  readonly replica: Standby;
  readonly print: (line: string) => void;
}

class Table {
  readonly #watched: Watched;
  #before: { readonly coderd: ByTemplate; readonly firstlight: ByTemplate } | null = null;
  /** Firstlight and the recount said the same, each time. */
  agreed = true;

  constructor(watched: Watched) {
    this.#watched = watched;
  }

  /** Waits until all is counted that this server has, and prints the three numbers: of one template's series, or of all. */
  async row(event: string, on: Server, template?: string): Promise<void> {
    const { follower, replica, print } = this.#watched;
    if (on !== replica) await replica.waitFor(on);
    const page = await follower.caughtUp(await serverLsn(urlOf(replica)));
    const firstlight = must(byTemplate(page, COUNTER), "the page has no totals");
    const [coderd, recount] = [await polled(urlOf(on)), await recounted(urlOf(on))];
    this.agreed &&= sum(firstlight) === sum(recount);
    const of = (series: ByTemplate | undefined): number | undefined =>
      template === undefined ? series && sum(series) : series?.get(template);
    const row: Row = {
      event,
      coderd: moved(of(this.#before?.coderd), of(coderd)),
      firstlight: moved(of(this.#before?.firstlight), of(firstlight)),
      // The tables know only names of today.
      recount: template === undefined ? String(sum(recount)) : "",
    };
    print(lineOf(row));
    this.#before = { coderd, firstlight };
  }
}

/** A database for Coder, as `setup` leaves it: the follower has the least that it can do with. */
async function prepare(primary: Server, signal: AbortSignal): Promise<void> {
  await ask(primary, "create database coder");
  await using client = await connect(urlOf(primary));
  await createCoderSchema(client);
  await client.query(`create role ${ROLE} with login replication`);
  await client.query(`alter role ${ROLE} set log_statement = 'all'`);
  await setup({
    config: {
      database: async () => ({ connectionString: urlOf(primary) }),
      databaseConfigured: true,
      publication: "firstlight",
      slot: SLOT,
    },
    apply: true,
    role: ROLE,
    out: () => undefined,
    signal,
  });
}

/** So many workspaces are created, some of them in vain, and a few prebuilt ones made and claimed. */
async function traffic(simulation: Simulation, creates: number): Promise<void> {
  const { workflows } = simulation;
  const begun: Promise<unknown>[] = [];
  const begin = (workflow: Promise<unknown>): void => {
    workflow.catch(() => undefined); // whoever waits for all of them hears of it
    begun.push(workflow);
  };
  for (let n = 1; n <= creates; n += 1) {
    begin(n % 5 === 0 ? workflows.createFails() : workflows.createRegular());
    if (n % 10 === 0) {
      begin(workflows.fillPool());
      begin(workflows.claim());
    }
    // A moment of real time: elsewhere it would all be one burst.
    await sleep(100);
  }
  await Promise.all(begun);
}

/** Each life long enough to count something, and ended wherever it is. */
async function killed(follower: Follower): Promise<void> {
  for (let kill = 1; kill <= KILLS; kill += 1) {
    await sleep(LIFE_MS);
    await follower.kill();
    follower.start();
  }
}

/** The two templates with the most workspaces by coderd's count, whatever their organization. */
function busiest(
  counted: ByTemplate,
  { deployment: { templates } }: Simulation,
): readonly [(typeof templates)[number], (typeof templates)[number]] {
  const single = templates.filter(
    ({ name, deleted }) =>
      !deleted && templates.filter((other) => other.name === name).length === 1,
  );
  const sorted = single.toSorted((a, b) => (counted.get(b.name) ?? 0) - (counted.get(a.name) ?? 0));
  return [must(sorted[0], "no template"), must(sorted[1], "no second template")];
}

/** Somebody drops the slot: between two bursts nobody holds it. */
async function dropped(server: Server): Promise<void> {
  await until("the slot is dropped", async () => {
    const free = await ask<{ dropped: string }>(
      server,
      `select pg_drop_replication_slot(slot_name)::text as dropped from pg_replication_slots
       where slot_name = '${SLOT}' and active_pid is null`,
    ).catch(() => []);
    return free.length > 0;
  });
}

/** The last line of `verify`, as anybody would run it. */
async function verified(main: string, env: NodeJS.ProcessEnv): Promise<string> {
  const { stdout } = await run(process.execPath, [main, "verify"], { env }).catch(
    (error: unknown) => error as { readonly stdout: string },
  );
  return stdout.trimEnd().split("\n").at(-1) ?? "";
}

function urlOf(server: Server, role = "postgres"): string {
  const url = new URL(server.url("coder"));
  url.username = role;
  return url.href;
}
