// Outcomes of a batch, gathered ahead of its commit and visible to the steps that follow in the same batch.

import type { Uuid } from "../change/row.ts";
import {
  type Created,
  type Ended,
  type Fact,
  type FactKind,
  type Sighting,
  perFact,
} from "./fact.ts";
import type { Entity, PendingAgent, PendingBuild, RunningJob, State } from "./state.ts";
import type { Outcome } from "./outcome.ts";

export class Staged implements State {
  facts: Fact[] = [];
  readonly sightings: Sighting[] = [];
  readonly #base: State;
  readonly #known = perFact(() => new Map<Uuid, Fact>());
  /** What changed per entity: the entity when it was put, null when it was dropped. */
  readonly #builds = new Map<Uuid, PendingBuild | null>();
  readonly #agents = new Map<Uuid, PendingAgent | null>();
  readonly #jobs = new Map<Uuid, RunningJob | null>();
  readonly #dropped: Entity[] = [];

  constructor(base: State) {
    this.#base = base;
  }

  /** Adds what one step found. */
  add(outcome: Outcome): void {
    for (const fact of outcome.facts) {
      this.facts.push(fact);
      const known = this.#known[fact.kind];
      // As the ledger does it: the first one stays.
      if (!known.has(fact.id)) known.set(fact.id, fact);
    }
    this.sightings.push(...outcome.sightings);
    for (const entity of outcome.put) {
      if (entity.kind === "build") this.#builds.set(entity.id, entity);
      else if (entity.kind === "agent") this.#agents.set(entity.id, entity);
      else this.#jobs.set(entity.id, entity);
    }
    for (const entity of outcome.drop) this.#drop(entity);
  }

  /** Entities that wait after the batch and did not before. */
  get put(): readonly Entity[] {
    const put = [...this.#builds.values(), ...this.#agents.values(), ...this.#jobs.values()];
    return put.filter((entity) => entity !== null);
  }

  /** Entities that waited before the batch and no longer do. */
  get drop(): readonly Entity[] {
    return this.#dropped;
  }

  pendingBuild(job: Uuid): PendingBuild | undefined {
    const staged = this.#builds.get(job);
    return staged === undefined ? this.#base.pendingBuild(job) : (staged ?? undefined);
  }

  pendingAgent(agent: Uuid): PendingAgent | undefined {
    const staged = this.#agents.get(agent);
    return staged === undefined ? this.#base.pendingAgent(agent) : (staged ?? undefined);
  }

  runningJob(job: Uuid): RunningJob | undefined {
    const staged = this.#jobs.get(job);
    return staged === undefined ? this.#base.runningJob(job) : (staged ?? undefined);
  }

  known(kind: FactKind, id: Uuid): boolean {
    return this.#known[kind].has(id) || this.#base.known(kind, id);
  }

  ended(job: Uuid): Ended | undefined {
    return (this.#known.ended.get(job) as Ended | undefined) ?? this.#base.ended(job);
  }

  createdBy(workspace: Uuid): number | undefined {
    const staged = this.#known.created.get(workspace) as Created | undefined;
    return staged?.number ?? this.#base.createdBy(workspace);
  }

  #drop(entity: Entity): void {
    const changed =
      entity.kind === "build" ? this.#builds : entity.kind === "agent" ? this.#agents : this.#jobs;
    // Put and dropped within one batch: the store never hears of it.
    if (!changed.get(entity.id)) this.#dropped.push(entity);
    changed.set(entity.id, null);
  }
}
