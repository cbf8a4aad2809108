// A ledger in memory that does what the store promises: insert or ignore, what waits, what differs. For laws about
// derivation that need thousands of ledgers, and for comparing the store with something simpler than itself.

import type { Uuid } from "../../src/change/row.ts";
import type { Ended, Fact, FactKind } from "../../src/derive/fact.ts";
import { Staged } from "../../src/derive/staged.ts";
import { Unordered } from "../../src/derive/unordered.ts";
import type {
  EndedAs,
  Entity,
  LiveWorkspace,
  PendingAgent,
  PendingBuild,
  PendingStart,
  RunningJob,
  State,
} from "../../src/derive/state.ts";
import { type Event, step } from "../../src/derive/step.ts";
import type { Family } from "../../src/metrics/family.ts";
import { Fold } from "../../src/metrics/fold.ts";
import type { Totals } from "../../src/metrics/pages.ts";
import { page } from "./folding.ts";
import { END } from "./rows.ts";

export class MemoryState implements State {
  readonly #facts = new Map<string, Fact>();
  readonly #builds = new Map<Uuid, PendingBuild>();
  readonly #agents = new Map<Uuid, PendingAgent>();
  readonly #workspaces = new Map<Uuid, LiveWorkspace>();
  /** It begins with the tables, or with all that there was. */
  readonly whole = true;
  readonly #jobs = new Map<Uuid, RunningJob>();
  readonly #starts = new Map<Uuid, PendingStart>();
  readonly #fold: Fold;

  constructor(catalog: readonly Family[]) {
    this.#fold = new Fold(catalog);
  }

  pendingBuild(job: Uuid): PendingBuild | undefined {
    return this.#builds.get(job);
  }

  pendingAgent(agent: Uuid): PendingAgent | undefined {
    return this.#agents.get(agent);
  }

  workspace(id: Uuid): LiveWorkspace | undefined {
    return this.#workspaces.get(id);
  }

  runningJob(job: Uuid): RunningJob | undefined {
    return this.#jobs.get(job);
  }

  pendingStart(job: Uuid): PendingStart | undefined {
    return this.#starts.get(job);
  }

  known(kind: FactKind, id: Uuid): boolean {
    return this.#facts.has(`${kind} ${id}`);
  }

  fact<K extends FactKind>(kind: K, id: Uuid): Extract<Fact, { kind: K }> | undefined {
    return this.#facts.get(`${kind} ${id}`) as Extract<Fact, { kind: K }> | undefined;
  }

  ended(job: Uuid): Ended | undefined {
    return this.fact("ended", job);
  }

  endedAs(job: Uuid): EndedAs | undefined {
    const fact = this.ended(job);
    return fact && { traits: fact.traits, workspace: fact.workspace?.id ?? null };
  }

  createdBy(workspace: Uuid): number | undefined {
    const fact = this.#facts.get(`created ${workspace}`);
    return fact?.kind === "created" ? fact.number : undefined;
  }

  deletedBy(workspace: Uuid): number | undefined {
    const fact = this.#facts.get(`deleted ${workspace}`);
    return fact?.kind === "deleted" ? fact.number : undefined;
  }

  *facts(): Generator<Fact> {
    yield* this.#facts.values();
  }

  *entities(): Generator<Entity> {
    yield* this.#builds.values();
    yield* this.#agents.values();
    yield* this.#workspaces.values();
    yield* this.#jobs.values();
    yield* this.#starts.values();
  }

  /** Derives what events mean ahead of their commit. */
  stage(events: readonly Event[], over: State = this): Staged {
    const staged = new Staged(over);
    for (const event of events) staged.add(step(staged, event));
    return staged;
  }

  /** Commits; returns the facts that were new. */
  commit(staged: Staged): readonly Fact[] {
    const accepted = staged.facts.filter((fact) => {
      if (this.known(fact.kind, fact.id)) return false;
      this.#facts.set(`${fact.kind} ${fact.id}`, fact);
      this.#fold.add(fact);
      return true;
    });
    for (const entity of staged.put) {
      if (entity.kind === "build") this.#builds.set(entity.id, entity);
      else if (entity.kind === "agent") this.#agents.set(entity.id, entity);
      else if (entity.kind === "job") this.#jobs.set(entity.id, entity);
      else if (entity.kind === "start") this.#starts.set(entity.id, entity);
      else {
        this.#leave(entity.id);
        this.#workspaces.set(entity.id, entity);
      }
      this.#fold.put(entity);
    }
    for (const entity of staged.drop) {
      if (entity.kind === "workspace") {
        this.#leave(entity.id);
        continue;
      }
      const waited = {
        build: this.#builds,
        agent: this.#agents,
        job: this.#jobs,
        start: this.#starts,
      }[entity.kind];
      if (waited.delete(entity.id)) this.#fold.drop(entity);
    }
    return accepted;
  }

  #leave(id: Uuid): void {
    const before = this.#workspaces.get(id);
    if (before) this.#fold.drop(before);
    this.#workspaces.delete(id);
  }

  /** Derives and commits events as one batch. */
  take(events: readonly Event[]): readonly Fact[] {
    return this.commit(this.stage(events));
  }

  /** As a baseline does: what tables tell, in groups of any size, is certain only when all is told. */
  takeTables(groups: readonly (readonly Event[])[]): readonly Fact[] {
    const unordered = new Unordered(this, { empty: false });
    const accepted: Fact[] = [];
    for (const events of groups) {
      const staged = this.stage(events, unordered.state);
      unordered.hold(staged, events);
      accepted.push(...this.commit(staged));
    }
    const before = { workspace: [...this.#workspaces.keys()], job: [...this.#jobs.keys()] };
    for (const outcome of unordered.release(before, END)) {
      const staged = new Staged(this);
      staged.add(outcome);
      accepted.push(...this.commit(staged));
    }
    return accepted;
  }

  publish(): Totals {
    return this.#fold.publish();
  }
}

/** The page's lines in an order that does not depend on which series was born first. */
export function sortedPage(totals: Totals): readonly string[] {
  return page(totals, "coderd_").split("\n").sort();
}
