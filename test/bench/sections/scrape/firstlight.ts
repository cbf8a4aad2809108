// Measured process: our HTTP surface on a fold with a histogram for each workspace. Argument: how many workspaces.

import { createApp } from "../../../../src/http/app.ts";
import { listen } from "../../../../src/http/server.ts";
import { createLog } from "../../../../src/log.ts";
import { createCatalog } from "../../../../src/metrics/catalog.ts";
import { AGENT_LABELS } from "../../../../src/metrics/families/agents.ts";
import { Fold } from "../../../../src/metrics/fold.ts";
import { createProcessRegistry, createRegistry } from "../../../../src/metrics/registry.ts";
import { Vitals } from "../../../../src/metrics/vitals.ts";
import { NO_FACTS } from "../../../support/facts.ts";
import { connected, uuid } from "../../../support/rows.ts";
import { takeCommands } from "./commands.ts";
import { workspaceOf } from "./data.ts";

const MICROS_PER_MS = 1_000;
/** 200 facts a second: what a deployment with 100,000 workspaces brings when all of them start within ten minutes. */
const COMMIT_EVERY_MS = 500;
const FACTS_PER_COMMIT = 100;

const workspaces = Number(process.argv[2]);
const catalog = createCatalog({ agentLabels: AGENT_LABELS });
const fold = new Fold(catalog);

function add(n: number): void {
  const { connections, ...labels } = workspaceOf(n);
  const names = { organization: "acme", preset: "", ...labels };
  for (const ms of connections)
    fold.add(connected({ id: uuid(n), took: ms * MICROS_PER_MS, names }));
}

for (let n = 0; n < workspaces; n += 1) add(n);
let shown = fold.publish();
let committing: NodeJS.Timeout | undefined;
let next = 0;

/** Spread over all workspaces, so that a commit touches as many pages as it can. */
function commit(): void {
  for (let i = 0; i < FACTS_PER_COMMIT; i += 1) {
    next = (next + 7_919) % workspaces;
    const { connections: _, ...labels } = workspaceOf(next);
    const names = { organization: "acme", preset: "", ...labels };
    fold.add(connected({ id: uuid(next), names }));
  }
  shown = fold.publish();
}

const view = {
  vitals: new Vitals(),
  catalog,
  prefix: "coderd_",
  totals: () => shown,
  version: "bench",
};
const app = createApp({
  ...view,
  ...NO_FACTS,
  log: createLog({ level: "error", format: "json" }),
  registry: createRegistry(view),
  processRegistry: createProcessRegistry(),
});
const { port } = await listen(app, { host: "127.0.0.1", port: 0 });
takeCommands(port, {
  /** Every page becomes another one: nothing that was kept of them is of use. */
  forget: () => {
    const tables = shown.tables.map((table) => ({
      ...table,
      pages: table.pages.map((page) => page.slice()),
    }));
    shown = { tables };
  },
  commit,
  commits: () => void (committing = setInterval(commit, COMMIT_EVERY_MS)),
  noCommits: () => clearInterval(committing),
});
