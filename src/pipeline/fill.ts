// Tables into a ledger: the rows of a snapshot go through the same `step` as the stream, inserted or ignored. A baseline fills the
// store that is followed with, a backfill a temporary one.

import { setImmediate as yieldToLoop } from "node:timers/promises";
import type { OnUnknown } from "../change/cells.ts";
import type { Micros } from "../change/micros.ts";
import { Staged, stagedOver } from "../derive/staged.ts";
import { NOTHING_KNOWN, type State } from "../derive/state.ts";
import type { AgentEvent, Event } from "../derive/step.ts";
import { Unordered } from "../derive/unordered.ts";
import type { Store } from "../store/store.ts";
import type { Write } from "../store/write.ts";
import { RowClock } from "./row-clock.ts";
import { type RowsRead, type Tables, tableEvents } from "./snapshot.ts";

export interface FillOptions {
  /** Loaded; `write` is its write. */
  readonly store: Store;
  readonly tables: Pick<Tables, "reader" | "consistent" | "at">;
  /** Counted up as they are read. */
  readonly rows: RowsRead;
  readonly onUnknown: OnUnknown;
  /** How long after its time is up an agent is told overdue. */
  readonly grace: Micros;
  readonly signal: AbortSignal;
}

/** Reads all of the tables. What the ledger knows stays as it is. Throws classed errors, or the signal's reason. */
export async function fillFromTables(
  write: Write,
  { store, tables, rows, onUnknown, grace, signal }: FillOptions,
): Promise<void> {
  // Every id comes once, and a build together with its job: what the tables add is not asked for again, but for the builds
  // of agents, which come last.
  const unordered = new Unordered(store.ledger.state, { empty: store.empty });
  const known = !store.empty;
  if (!known) write.setAside();
  let agentsBegan = false;
  const anew: State = { ...NOTHING_KNOWN, endedAs: store.ledger.state.endedAs };
  const clock = new RowClock(tables.at);
  for await (const events of tableEvents(tables, { rows, onUnknown, clock, grace })) {
    if (!agentsBegan && events.some(isAgentEvent)) {
      agentsBegan = true;
      await placed(write, signal);
    }
    // What is known may be what an older version knew of it, and of an agent what a stream told that had no jobs for a while: filled
    // in first, so that it tells what follows from it.
    if (!store.ledger.complete || (known && events.some(isAgentEvent))) {
      const { facts } = stagedOver(anew, events);
      // Also what has come to its end meanwhile: it waits here, and ends below.
      const { put } = stagedOver(anew, events.flatMap(asWaiting));
      write.complete({ facts, put });
    }
    const staged = stagedOver(unordered.state, events);
    unordered.hold(staged, events);
    write.add(staged);
    await yieldToLoop();
    signal.throwIfAborted();
  }
  const before = {
    workspace: [...store.ledger.waiting("workspace")],
    job: [...store.ledger.waiting("job")],
  };
  for (const outcome of unordered.release(before, tables.consistent)) {
    const staged = new Staged(store.ledger.state);
    staged.add(outcome);
    write.add(staged);
    await yieldToLoop();
  }
  await placed(write, signal);
}

/** What was set aside is in the ledger, to be asked for. */
async function placed(write: Write, signal: AbortSignal): Promise<void> {
  for (const _ of write.place()) {
    await yieldToLoop();
    signal.throwIfAborted();
  }
}

/** What waits after this event, had nothing happened since. */
function asWaiting(event: Event): readonly Event[] {
  if (event.row.kind === "build") return [event];
  return isAgentEvent(event) ? [{ ...event, row: { ...event.row, firstConnectedAt: null } }] : [];
}

const isAgentEvent = (event: Event): event is AgentEvent => event.row.kind === "agent";
