// The simulated Coder deployment as one object: seeds itself, runs workflows as fast as the server allows or in step with the
// wall clock, and knows what it must all add up to. The same seed makes the same plan, whatever the server's speed.

import { setTimeout as sleep } from "node:timers/promises";
import { SECOND, type Micros } from "../../change/micros.ts";
import type { Uuid } from "../../change/row.ts";
import { must } from "../../errors.ts";
import { type Left, adoptDeployment } from "./adopt.ts";
import { seedDeployment } from "./deployment.ts";
import { heartbeatLoad, type HeartbeatOptions } from "./heartbeats.ts";
import { WORKFLOWS, deck, workflow, type WorkflowName } from "./mix.ts";
import type { Agent, Organization, Template, User, Workspace } from "./model.ts";
import { STEPS } from "./steps.ts";
import type { Expected } from "./tally.ts";
import type { Process } from "./timeline.ts";
import { removeOldest } from "./workflows/transitions.ts";
import { World, type WorldOptions } from "./world.ts";

export type SimulationOptions = WorldOptions;

/** A workflow or step without its world: runs to its own end, its agents' lives included. */
type Bound<T> = {
  readonly [K in keyof T]: T[K] extends (world: World, ...rest: infer A) => Process<infer R>
    ? (...rest: A) => Promise<R>
    : never;
};

/** The mean time between two arrivals of work. */
const ARRIVALS: Micros = 6 * SECOND;
/** Above this many workspaces the demonstration deletes one whenever work arrives. */
const CROWD = 60;
/** What a demonstration shows first. */
const OPENING: readonly WorkflowName[] = [
  "createRegular",
  "createFails",
  "createRegular",
  "claim",
  "cancelPending",
];

/** Opens a simulation on a database that `createCoderSchema` has filled. Connects when it first writes. */
export function openSimulation(options: SimulationOptions): Simulation {
  return new Simulation(new World(options));
}

export class Simulation implements AsyncDisposable {
  /** Every workflow, callable alone. */
  readonly workflows: Bound<typeof WORKFLOWS>;
  /** Single steps, for tests that stop between them. */
  readonly steps: Bound<typeof STEPS>;
  readonly #world: World;
  #driving: Promise<void> | undefined;

  constructor(world: World) {
    this.#world = world;
    const play = async (process: Process<unknown>): Promise<unknown> => this.#play(process);
    this.workflows = bind(WORKFLOWS, world, play);
    this.steps = bind(STEPS, world, play);
  }

  /** Simulated time. */
  get now(): Micros {
    return this.#world.timeline.now;
  }

  /** What exists: to choose by in a test, not to change. */
  get deployment(): {
    readonly organizations: readonly Organization[];
    readonly users: readonly User[];
    readonly templates: readonly Template[];
    readonly workspaces: ReadonlyMap<Uuid, Workspace>;
  } {
    return this.#world;
  }

  /** What the tables and the stream must add up to, by construction. A copy. */
  expected(): Expected {
    return this.#world.tally.expected();
  }

  /** Organizations, people, templates, versions and presets. Call once, first. */
  async seedDeployment(): Promise<void> {
    await this.#play(seedDeployment(this.#world));
  }

  /** In place of seeding: goes on with what an earlier simulation left. Give this one another seed, or ids repeat. */
  async adoptDeployment(left: Left): Promise<void> {
    await adoptDeployment(this.#world, left);
  }

  /**
   * Starts this many workflows of the full mix and runs until nothing is left to happen; 0 only finishes what has begun.
   * Builds that are meant to stay in flight do. Rejects when aborted; the rest then waits for the next run.
   */
  async run(options: { readonly workflows: number; readonly signal?: AbortSignal }): Promise<void> {
    const world = this.#world;
    const cards = deck(world.random, { divergent: world.options.divergent, endless: false });
    const arrivals = async function* (): Process {
      for (let i = 0; i < options.workflows; i += 1) {
        yield world.random.gap(ARRIVALS);
        world.timeline.start(workflow(world, cards.next().value));
      }
    };
    await this.#play(arrivals(), options.signal);
  }

  /**
   * For ever, until aborted: simulated time runs `speed` times as fast as the wall clock until it has caught up with it, then
   * with it, and never ahead of it. Resolves when aborted, with no transaction left open.
   */
  async pace(options: { readonly speed: number; readonly signal: AbortSignal }): Promise<void> {
    if (this.#driving) throw new Error("the simulation is already running");
    const world = this.#world;
    world.endless = true;
    world.timeline.start(this.#traffic(options.signal));
    try {
      await this.#drive(this.#inStep(options));
    } finally {
      world.endless = false;
      world.settling = false;
    }
  }

  /** Agents that are connected, in the order in which they were born. */
  connectedAgents(): readonly Agent[] {
    return [...this.#world.workspaces.values()]
      .flatMap((workspace) => workspace.builds)
      .flatMap((build) => build.agents)
      .filter((agent) => agent.connected);
  }

  /** Very many heartbeats of connected agents; a million single-row transactions take about a minute. */
  async heartbeats(
    options: Omit<HeartbeatOptions, "agents"> & Partial<HeartbeatOptions>,
  ): Promise<void> {
    const agents = options.agents ?? this.connectedAgents();
    await heartbeatLoad(this.#world.replica(), { ...options, agents });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#world[Symbol.asyncDispose]();
  }

  async *#traffic(signal: AbortSignal): Process {
    const world = this.#world;
    const cards = deck(world.random, { divergent: world.options.divergent, endless: true });
    const opening = OPENING.values();
    for (;;) {
      yield world.random.gap(ARRIVALS);
      if (signal.aborted) return;
      const living = [...world.workspaces.values()].filter(
        (workspace) => !workspace.deleted,
      ).length;
      if (living > CROWD) world.timeline.start(removeOldest(world));
      world.timeline.start(workflow(world, opening.next().value ?? cards.next().value));
    }
  }

  /** Runs a process, and everything it sets in motion, to the end. While something else runs: just to its own end. */
  async #play<T>(process: Process<T>, signal?: AbortSignal): Promise<T> {
    const ended = Promise.withResolvers<{ readonly value: T }>();
    this.#world.timeline.start(announce(process, ended.resolve));
    const others = this.#driving;
    const last = others
      ? await Promise.race([ended.promise, others])
      : await this.#drive(this.#untilQuiet(signal));
    // Whoever drives has stopped: what has not ended by now has been stopped, too.
    const result = last ?? (await Promise.race([ended.promise, undefined]));
    return must(result, "the simulation was stopped before the workflow ended").value;
  }

  /** Only one loop may move the clock. */
  async #drive(loop: Promise<void>): Promise<void> {
    this.#driving = loop;
    try {
      await loop;
    } finally {
      this.#driving = undefined;
    }
  }

  async #untilQuiet(signal?: AbortSignal): Promise<void> {
    const { timeline } = this.#world;
    while (timeline.nextAt !== undefined) {
      if (signal?.aborted === true && this.#world.open === 0) break;
      await timeline.advance();
    }
    signal?.throwIfAborted();
  }

  async #inStep(options: { readonly speed: number; readonly signal: AbortSignal }): Promise<void> {
    const world = this.#world;
    const { signal, speed } = options;
    const started = { simulated: world.timeline.now, wall: wallClock() };
    const due = (): Micros => {
      const wall = wallClock();
      return Math.min(started.simulated + (wall - started.wall) * speed, wall);
    };
    while (!signal.aborted || world.open > 0) {
      world.settling = signal.aborted;
      const next = must(world.timeline.nextAt, "traffic never ends");
      const early = next - due();
      if (early <= 0) await world.timeline.advance();
      else await nap(early / 1000 / speed, signal);
    }
  }
}

async function* announce<T>(
  process: Process<T>,
  ended: (result: { readonly value: T }) => void,
): Process {
  ended({ value: yield* process });
}

function bind<T extends object>(
  functions: T,
  world: World,
  play: (process: Process<unknown>) => Promise<unknown>,
): Bound<T> {
  const bound = Object.entries(functions).map(
    ([name, make]: [string, (world: World, ...rest: unknown[]) => Process<unknown>]) => [
      name,
      async (...rest: unknown[]): Promise<unknown> => play(make(world, ...rest)),
    ],
  );
  return Object.fromEntries(bound) as Bound<T>;
}

function wallClock(): Micros {
  return Date.now() * 1000;
}

/** Sleeps, at least a millisecond; an abort ends it early. */
async function nap(millis: number, signal: AbortSignal): Promise<void> {
  // After an abort only the last open transactions are waited for, some milliseconds each.
  const options = signal.aborted ? {} : { signal };
  await sleep(Math.max(1, Math.min(millis, 1_000)), undefined, options).catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
}
