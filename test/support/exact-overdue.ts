// Agents that had not connected when their time was up: ledger and page against the tables, and against the simulation.

import type pg from "pg";
import { expect } from "vitest";
import type { Expected } from "../../src/demo/coder/tally.ts";
import type { Ledger } from "./ledger.ts";
import { type OverdueById, recount, recountOverdue } from "./recount.ts";
import { type Scrape, byLabels, sumOf } from "./scrape.ts";

export const TIMEOUTS = "firstlight_agents_connection_timeouts_total";

/**
 * Equal, except for exactly the ids that the ledger lists as divergent; and for those that never connected and of which the ledger
 * still waits to tell, because their rows are of another time than the server's clock.
 */
export function expectOverdueEqualsTables(
  ledger: Ledger,
  { overdue }: { readonly overdue: ReadonlyMap<string, OverdueById> },
): void {
  const divergent = (id: string): boolean =>
    ledger.divergent.has(`overdue ${id}`) || ledger.divergent.has(`connected ${id}`);
  for (const [id, { at, took }] of ledger.overdue) {
    const row = overdue.get(id);
    expect((row?.at === at && row.took === took) || divergent(id), `agent ${id}`).toBe(true);
  }
  for (const [id, { connected }] of overdue) {
    const waits = !connected && ledger.due.has(id);
    expect(ledger.overdue.has(id) || waits || divergent(id), `late agent ${id}`).toBe(true);
    expect(ledger.overdue.has(id) && waits, `agent ${id} is told and waits`).toBe(false);
  }
}

/** What the simulation knows of those that connected: late or not. Of the others only the clock can tell. */
export function expectOverdueEqualsTally(ledger: Ledger, { agents, builds }: Expected): void {
  for (const { id, build, took, timeout } of agents.values()) {
    const starts = builds.get(build)?.transition === "start";
    const isLate = starts && timeout > 0 && took !== null && took > timeout;
    if (took !== null && !ledger.divergent.has(`overdue ${id}`))
      expect(ledger.overdue.has(id), `agent ${id}, connected after ${took}`).toBe(isLate);
    if (!starts || timeout === 0) expect(ledger.due.has(id), `agent ${id}`).toBe(false);
  }
}

/**
 * Between those that connected late and these with all that never did, of which a clock must tell. Clocks of replicas that disagree by
 * more than the grace make some that are told and then connected in time: those are listed.
 */
export async function expectOverdueShown(client: pg.Client, scrape: Scrape): Promise<void> {
  const overdue = [...(await recountOverdue(client)).values()];
  const late = overdue.filter(({ connected }) => connected);
  const shown = sumOf(scrape, TIMEOUTS);
  expect(shown, TIMEOUTS).toBeGreaterThanOrEqual(late.length);
  const listed = scrape.series.get('firstlight_divergent_ids{kind="overdue"}') ?? 0;
  expect(shown, TIMEOUTS).toBeLessThanOrEqual(overdue.length + listed);
}

/** By the agents' names, which nobody changes: once all whose time is up are told. */
export async function overdueByName(
  client: pg.Client,
  scrape: Scrape,
): Promise<{ readonly shown: object; readonly counted: object }> {
  const { overdue } = await recount(client);
  return { shown: byName(byLabels(scrape, TIMEOUTS)), counted: byName(overdue) };
}

function byName(values: ReadonlyMap<string, number>): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const [key, value] of values) {
    const [, , name = ""] = JSON.parse(key) as string[];
    if (value > 0) sums[name] = (sums[name] ?? 0) + value;
  }
  return sums;
}
