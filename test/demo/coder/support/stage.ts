// A database of its own with a seeded simulation, for the tests of the simulation itself.

import type pg from "pg";
import {
  type Simulation,
  type SimulationOptions,
  openSimulation,
} from "../../../../src/demo/coder/simulation.ts";
import type { Template } from "../../../../src/demo/coder/model.ts";
import { must } from "../../../../src/errors.ts";
import { createDatabase } from "../../../support/database.ts";

/** 2026-08-21, so that no test depends on today. */
export const START_AT = 1_787_300_000_000_000;

export interface Stage extends AsyncDisposable {
  readonly simulation: Simulation;
  readonly client: pg.Client;
}

export async function openStage(options: Partial<SimulationOptions> = {}): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const database = stack.use(await createDatabase());
  const client = await database.client();
  const simulation = stack.use(
    openSimulation({ url: database.url, seed: 1, startAt: START_AT, ...options }),
  );
  await simulation.seedDeployment();
  const owned = stack.move();
  return { simulation, client, [Symbol.asyncDispose]: async () => owned.disposeAsync() };
}

/** The template of this name in the organization `coder`. */
export function templateNamed({ deployment }: Simulation, name: string): Template {
  const found = deployment.templates.find(
    (template) => template.name === name && template.organization.name === "coder",
  );
  return must(found, "no such template");
}
