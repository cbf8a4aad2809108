// Outcomes of a batch, gathered ahead of its commit and visible to the steps that follow in the same batch.

import type { Uuid } from "../change/row.ts";
import {
  type Created,
  type Deleted,
  type Ended,
  type Fact,
  type FactKind,
  type Sighting,
  perFact,
} from "./fact.ts";
import {
  ENTITIES,
  type EndedAs,
  type Entity,
  type EntityKind,
  type LiveWorkspace,
  type PendingAgent,
  type PendingBuild,
  type PendingStart,
  type RunningJob,
  type State,
  perEntity,
} from "./state.ts";
import type { Outcome } from "./outcome.ts";
import { type Event, step } from "./step.ts";

/** What these events lead to, in their order. */
export function stagedOver(state: State, events: readonly Event[]): Staged {
  const staged = new Staged(state);
  for (const event of events) staged.add(step(staged, event));
  return staged;
}

export class Staged implements State {
  facts: Fact[] = [];
  readonly sightings: Sighting[] = [];
  readonly #base: State;
  readonly #known = perFact(() => new Map<Uuid, Fact>());
  /** What changed per entity: the entity when it was put, null when it was dropped. */
  readonly #entities = perEntity(() => new Map<Uuid, Entity | null>());
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
    for (const entity of outcome.put) this.#entities[entity.kind].set(entity.id, entity);
    for (const entity of outcome.drop) this.#drop(entity);
  }

  /** Entities that wait after the batch and did not before, or not like this. */
  get put(): readonly Entity[] {
    return ENTITIES.flatMap((kind) => [...this.#entities[kind].values()]).filter(
      (entity) => entity !== null,
    );
  }

  /** Takes entities of this kind out of what is put. */
  take<K extends EntityKind>(kind: K): Extract<Entity, { kind: K }>[] {
    const changed = this.#entities[kind];
    const taken = [...changed.values()].filter((entity) => entity !== null);
    for (const { id } of taken) changed.delete(id);
    return taken as Extract<Entity, { kind: K }>[];
  }

  /** Entities that waited before the batch and no longer do. */
  get drop(): readonly Entity[] {
    return this.#dropped;
  }

  pendingBuild(job: Uuid): PendingBuild | undefined {
    return this.#entity("build", job, () => this.#base.pendingBuild(job));
  }

  pendingAgent(agent: Uuid): PendingAgent | undefined {
    return this.#entity("agent", agent, () => this.#base.pendingAgent(agent));
  }

  workspace(id: Uuid): LiveWorkspace | undefined {
    return this.#entity("workspace", id, () => this.#base.workspace(id));
  }

  get whole(): boolean {
    return this.#base.whole;
  }

  runningJob(job: Uuid): RunningJob | undefined {
    return this.#entity("job", job, () => this.#base.runningJob(job));
  }

  pendingStart(job: Uuid): PendingStart | undefined {
    return this.#entity("start", job, () => this.#base.pendingStart(job));
  }

  known(kind: FactKind, id: Uuid): boolean {
    return this.#known[kind].has(id) || this.#base.known(kind, id);
  }

  fact<K extends FactKind>(kind: K, id: Uuid): Extract<Fact, { kind: K }> | undefined {
    const staged = this.#known[kind].get(id) as Extract<Fact, { kind: K }> | undefined;
    return staged ?? this.#base.fact(kind, id);
  }

  ended(job: Uuid): Ended | undefined {
    return (this.#known.ended.get(job) as Ended | undefined) ?? this.#base.ended(job);
  }

  endedAs(job: Uuid): EndedAs | undefined {
    const staged = this.#known.ended.get(job) as Ended | undefined;
    if (!staged) return this.#base.endedAs(job);
    return { traits: staged.traits, workspace: staged.workspace?.id ?? null };
  }

  createdBy(workspace: Uuid): number | undefined {
    const staged = this.#known.created.get(workspace) as Created | undefined;
    return staged?.number ?? this.#base.createdBy(workspace);
  }

  deletedBy(workspace: Uuid): number | undefined {
    const staged = this.#known.deleted.get(workspace) as Deleted | undefined;
    return staged?.number ?? this.#base.deletedBy(workspace);
  }

  #entity<K extends EntityKind>(
    kind: K,
    id: Uuid,
    committed: () => Extract<Entity, { kind: K }> | undefined,
  ): Extract<Entity, { kind: K }> | undefined {
    const staged = this.#entities[kind].get(id);
    if (staged === undefined) return committed();
    return (staged ?? undefined) as Extract<Entity, { kind: K }> | undefined;
  }

  #isStored({ kind, id }: Entity): boolean {
    if (kind === "workspace") return this.#base.workspace(id) !== undefined;
    if (kind === "start") return this.#base.pendingStart(id) !== undefined;
    return kind === "agent" && this.#base.pendingAgent(id) !== undefined;
  }

  #drop(entity: Entity): void {
    const changed = this.#entities[entity.kind];
    // Put and dropped within one batch: the store never hears of it. Workspaces, starts and agents that it has are put when they change, too.
    const changes = entity.kind === "workspace" || entity.kind === "start";
    const isPut = changes || Boolean(changed.get(entity.id));
    if (!isPut || this.#isStored(entity)) this.#dropped.push(entity);
    changed.set(entity.id, null);
  }
}
