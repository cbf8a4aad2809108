// Tables are read in no order, but some of what they tell is told by the lowest or the highest build of a workspace: that waits here
// until everything is read.

import type { Uuid } from "../change/row.ts";
import type { Lsn } from "../lsn.ts";
import type { Created } from "./fact.ts";
import { HeldStarts } from "./held.ts";
import { NOTHING, type Outcome, together } from "./outcome.ts";
import { slices } from "./slices.ts";
import type { Staged } from "./staged.ts";
import { startTold } from "./starts.ts";
import type { Event } from "./step.ts";
import { type LiveWorkspace, NOTHING_KNOWN, type RunningJob, type State } from "./state.ts";

export class Unordered {
  /** What created a workspace: the lowest of its builds that could have. Those of first builds are certain, so few wait. */
  readonly #lowest = new Map<Uuid, Created>();
  /** The latest build of each workspace that is there. */
  readonly #latest = new Map<Uuid, LiveWorkspace>();
  /** Agents of builds that start a workspace: how a start went is told by all of them. */
  readonly #starts = new HeldStarts();
  /** Jobs that run. */
  readonly #running = new Map<Uuid, RunningJob>();
  /** Names and traits that several of them have: some dozens for each template. */
  readonly #shares = new Map<string, object>();
  readonly #ledger: State;
  /** What derivation reads: the ledger, and what waits here. */
  readonly state: State;

  /** `empty`: the ledger has nothing but what the tables bring, each id once, so it need not be asked. */
  constructor(ledger: State, { empty }: { readonly empty: boolean }) {
    this.#ledger = ledger;
    const known = empty ? NOTHING_KNOWN : ledger;
    this.state = {
      pendingBuild: (job) => ledger.pendingBuild(job),
      pendingAgent: (agent) => known.pendingAgent(agent),
      known: (kind, id) => known.known(kind, id),
      fact: (kind, id) => known.fact(kind, id),
      ended: (job) => known.ended(job),
      // Agents come after the builds that made them.
      endedAs: (job) => ledger.endedAs(job),
      createdBy: (id) => known.createdBy(id),
      deletedBy: (id) => known.deletedBy(id),
      // What is there, and what runs, is what the tables have, and nothing else.
      workspace: (id) => this.#latest.get(id),
      runningJob: (job) => this.#running.get(job),
      pendingStart: (job) => known.pendingStart(job),
      // Tables have everything.
      whole: true,
    };
  }

  /** Takes out of a batch what is not certain yet. `events`: what it was staged from. */
  hold(staged: Staged, events: readonly Event[]): void {
    this.#starts.hold(events);
    staged.facts = staged.facts.filter((fact) => fact.kind !== "created" || this.#isFirst(fact));
    for (const workspace of staged.take("workspace")) {
      const kept = this.#copied(workspace);
      this.#latest.set(kept.id, kept);
    }
    for (const job of staged.take("job")) this.#running.set(job.id, job);
  }

  /**
   * With strings of its own, and sharing what many have: those of a row are slices of the text that it was read from, all of which they
   * would keep in memory.
   */
  #copied(latest: LiveWorkspace): LiveWorkspace {
    const id = own(latest.id);
    const { owner, name } = latest.workspace;
    return {
      ...latest,
      id,
      job: own(latest.job),
      names: this.#shared(latest.names),
      traits: this.#shared(latest.traits),
      workspace: { id, owner: own(owner), name: own(name) },
      deleted: latest.deleted.map(own),
    };
  }

  #shared<T extends object>(value: T): T {
    const key = Object.values(value).join("\n");
    const known = this.#shares.get(key);
    if (known) return known as T;
    const shared = JSON.parse(JSON.stringify(value)) as T;
    this.#shares.set(own(key), shared);
    return shared;
  }

  /**
   * Nothing more comes: what waits, some of it at a time. `before`: what the ledger has, of which some may be gone. `end`: the position
   * of the tables.
   */
  *release(
    before: Readonly<Record<"workspace" | "job", readonly Uuid[]>>,
    end: Lsn,
  ): Generator<Outcome> {
    for (const facts of slices(this.#lowest.values())) yield { ...NOTHING, facts };
    // What the tables have just told of their builds is in the ledger by now.
    const state: State = { ...this.state, ended: (job) => this.#ledger.ended(job) };
    for (const starts of this.#starts.take())
      yield together(starts.map((start) => startTold(state, start, end)));
    for (const latest of slices(this.#latest.values()))
      yield { ...NOTHING, put: latest.map((each) => this.#asWas(each)) };
    for (const put of slices(this.#running.values())) yield { ...NOTHING, put };
    const gone = before.workspace.filter((id) => !this.#latest.has(id));
    for (const ids of slices(gone))
      yield { ...NOTHING, drop: ids.flatMap((id) => this.#ledger.workspace(id) ?? []) };
    const over = before.job.filter((id) => !this.#running.has(id));
    for (const ids of slices(over))
      yield { ...NOTHING, drop: ids.flatMap((id) => this.#ledger.runningJob(id) ?? []) };
  }

  /** With the names that the ledger has of the same build: they are frozen. */
  #asWas(latest: LiveWorkspace): LiveWorkspace {
    const before = this.#ledger.workspace(latest.id);
    if (before?.number !== latest.number) return latest;
    const { names, traits, workspace } = before;
    return { ...latest, names, traits, workspace };
  }

  #isFirst(fact: Created): boolean {
    if (fact.number <= 1) {
      this.#lowest.delete(fact.id);
      return true;
    }
    const other = this.#lowest.get(fact.id);
    const lower = other ? fact.number < other.number : !this.#ledger.known("created", fact.id);
    if (lower) this.#lowest.set(fact.id, fact);
    return false;
  }
}

/** The same text, and no part of a longer one. */
function own(text: string): string {
  return JSON.parse(JSON.stringify(text)) as string;
}
