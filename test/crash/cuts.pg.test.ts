// A recorded stream, cut after every message: whatever the store holds at that moment, playing everything again from the
// start gives the ledger and the series of the run that was never cut.

import { copyFileSync, existsSync } from "node:fs";
import { expect, test } from "vitest";
import type pg from "pg";
import type { Lsn } from "../../src/lsn.ts";
import { Waiting } from "../../src/change/waiting.ts";
import { openSimulation } from "../../src/demo/coder/simulation.ts";
import { createLog } from "../../src/log.ts";
import { Vitals } from "../../src/metrics/vitals.ts";
import { follow } from "../../src/pipeline/follow.ts";
import { Resolver } from "../../src/pipeline/resolve.ts";
import { fillSieve } from "../../src/pipeline/sieve.ts";
import { type Session, openSession } from "../../src/postgres/session.ts";
import type { Position } from "../../src/store/position.ts";
import { Store } from "../../src/store/store.ts";
import { must } from "../../src/errors.ts";
import type { Fact } from "../../src/derive/fact.ts";
import { createDatabase } from "../support/database.ts";
import { expectLedgerEqualsTables } from "../support/exact.ts";
import { publish, uniqueSlot } from "../support/firstlight.ts";
import { CATALOG, type Ledger, readLedger } from "../support/ledger.ts";
import { type Folder, temporaryFolder } from "./support/folder.ts";
import { play, record } from "./support/recording.ts";
import { report } from "./support/report.ts";
import { createSlot } from "./support/slots.ts";

/** 2026-08-21, so that no test depends on today. */
const START_AT = 1_787_300_000_000_000;

for (const { seed, divergent } of [
  { seed: 3, divergent: false },
  { seed: 4, divergent: true },
]) {
  test(
    `cut after every message, seed ${seed}: the same ledger (divergent ${divergent})`,
    { timeout: 180_000 },
    async () => {
      await using database = await createDatabase();
      await using folder = await temporaryFolder();
      const client = await database.client();
      await publish(client);
      const slot = uniqueSlot();
      const start = await createSlot(client, slot);
      await using simulation = openSimulation({
        url: database.url,
        seed,
        startAt: START_AT,
        divergent,
        heartbeats: 1,
      });
      await simulation.seedDeployment();
      await simulation.run({ workflows: 6 });
      const messages = await record(client, slot);
      const lifetime = new AbortController();
      await using session = await openSession(
        { connectionString: database.url },
        { signal: lifetime.signal },
      );
      const stream = { messages, session: remembering(session) };

      const uncut = folder.path("uncut.db");
      begin(uncut, start);
      await playInto(uncut, {
        ...stream,
        onMessage: (index) => crash(uncut, cutPath(folder, index)),
      });
      const expected = told(readLedger(uncut));
      await expectLedgerEqualsTables(client, uncut, simulation);

      for (const index of messages.keys()) {
        const path = cutPath(folder, index);
        await playInto(path, { ...stream, perBatch: 10 + (index % 30) });
        expect(told(readLedger(path)), `cut after message ${index}`).toEqual(expected);
      }
      report("cuts", { messages: messages.length, facts: expected.facts.length });
    },
  );
}

/** Plays the stream into a store through the live loop, from where the store stands. */
async function playInto(
  path: string,
  options: {
    readonly messages: readonly Buffer[];
    readonly session: Session;
    readonly perBatch?: number;
    readonly onMessage?: (index: number) => void;
  },
): Promise<void> {
  const { session } = options;
  using store = Store.open({ path, catalog: CATALOG });
  const loaded = store.load();
  const position = must(loaded.position, "the store has not begun");
  const waiting = fillSieve(new Waiting(), store);
  await using source = play({ ...options, waiting });
  const vitals = new Vitals();
  const log = createLog({ level: "error", format: "json" });
  const { signal } = new AbortController();
  const resolver = new Resolver({ session, vitals, log });
  await follow({
    source,
    resolve: (batch) => resolver.resolve(batch, signal),
    store,
    waiting,
    begun: { ...loaded, position, start: position.end },
    timeline: () => position.timeline,
    show: () => undefined,
    vitals,
    log,
    signal,
  });
}

/** An empty store at this position, as a baseline of empty tables leaves it. */
function begin(path: string, end: Lsn): void {
  using store = Store.open({ path, catalog: CATALOG });
  store.load();
  const position: Position = {
    systemId: "1",
    timeline: 1,
    server: "10.0.0.1:5432",
    database: "coder",
    slot: "firstlight",
    publication: "",
    consistent: end,
    end,
  };
  using write = store.begin();
  write.commit(position);
}

/** The files as the process would leave them if it ended now. */
function crash(path: string, to: string): void {
  for (const suffix of ["", "-wal"]) {
    if (existsSync(`${path}${suffix}`)) copyFileSync(`${path}${suffix}`, `${to}${suffix}`);
  }
}

function cutPath(folder: Folder, index: number): string {
  return folder.path(`cut-${index}.db`);
}

/** The same session, which asks each question once: nobody writes any more, so the answers stay true. */
function remembering(session: Session): Session {
  const answers = new Map<string, Promise<unknown[]>>();
  return {
    ...session,
    query: async <R extends pg.QueryResultRow>(sql: string, values: readonly unknown[] = []) => {
      const key = JSON.stringify([sql, values]);
      const known = answers.get(key) ?? session.query<R>(sql, values);
      answers.set(key, known);
      return (await known) as R[];
    },
  };
}

/** What must not depend on where the stream was cut, in an order of its own. */
function told({ facts, stored, refolded, divergent }: Ledger): {
  readonly facts: readonly string[];
  readonly stored: object;
  readonly refolded: object;
  readonly divergent: object;
} {
  return {
    facts: facts.map(factText).sort(),
    stored: Object.fromEntries(stored),
    refolded: Object.fromEntries(refolded),
    divergent: Object.fromEntries(divergent),
  };
}

/** What can be built is found by look-ups, not told by the stream: `end` is that of the batch that led to the question. */
function factText(fact: Fact): string {
  const end = fact.kind === "offered" ? null : String(fact.end);
  return JSON.stringify({ ...fact, end });
}
