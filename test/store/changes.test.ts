// A ledger of 100,000 facts under other families, labels and prefix: it shows what a fresh start with them shows, in one step.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, expect, test } from "vitest";
import { SECOND } from "../../src/change/micros.ts";
import { Random } from "../../src/demo/coder/random.ts";
import type { Fact } from "../../src/derive/fact.ts";
import { createCatalog } from "../../src/metrics/catalog.ts";
import { AGENT_LABELS } from "../../src/metrics/families/agents.ts";
import type { Family } from "../../src/metrics/family.ts";
import { Store } from "../../src/store/store.ts";
import { CATALOG, page } from "../support/folding.ts";
import {
  AGENT_NAMES,
  TRAITS,
  WORKSPACE,
  attempted,
  connected,
  created,
  ended,
  pendingAgent,
  pendingBuild,
  uuid,
} from "../support/rows.ts";
import { type Batch, POSITION, write } from "../support/storing.ts";

const root = mkdtempSync(join(tmpdir(), "firstlight-changes-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const FACTS = 100_000;
const FACTS_PER_COMMIT = 5_000;

/** A ledger of every kind of fact, in commits, always the same one. */
function* history(): Generator<Batch> {
  const random = new Random(7);
  const presets = Array.from({ length: 40 }, (_, n) => ({
    organization: random.pick(["acme", "other"]),
    template: `template-${n % 15}`,
    preset: n % 3 === 0 ? "" : `preset-${n}`,
    version: `v${n % 4}`,
  }));
  const factOf = (n: number): Fact => {
    const names = random.pick(presets);
    const traits = random.pick([
      TRAITS,
      { ...TRAITS, prebuild: true },
      { ...TRAITS, initial: false, claimed: names.preset },
      { ...TRAITS, initial: false, reason: "autostop", transition: "stop" },
    ]);
    const took = random.between(-1, 5_000) * SECOND;
    const id = uuid(n);
    if (random.chance(0.01)) return { ...attempted({ id, names }), kind: "offered" };
    if (random.chance(0.4)) return attempted({ id, names, traits });
    if (random.chance(0.05)) return created({ id, names, traits });
    if (random.chance(0.5)) {
      const errorCode = random.pick(["other", "user_canceled", "QUOTA", "TIMEOUT"]);
      const failure = { status: "failure", stage: "provisioner", errorCode } as const;
      const workspace = { ...WORKSPACE, name: `workspace-${random.between(1, 300)}` };
      return ended({ id, names, traits, workspace, took, ...(random.chance(0.2) ? failure : {}) });
    }
    const [agent, username] = [random.pick(["main", "gpu"]), `user-${random.between(1, 500)}`];
    const workspace = `workspace-${random.between(1, 20)}`;
    return connected({ id, took, names: { ...names, agent, username, workspace } });
  };
  for (let first = 0; first < FACTS; first += FACTS_PER_COMMIT) {
    const names = random.pick(presets);
    yield {
      facts: Array.from({ length: FACTS_PER_COMMIT }, (_, i) => factOf(first + i)),
      put: [
        pendingBuild({ id: uuid(FACTS + first), names, createdAt: first }),
        pendingAgent({
          id: uuid(2 * FACTS + first),
          names: { ...AGENT_NAMES, username: `w${first}` },
        }),
      ],
    };
  }
}

const NAMED = CATALOG.map(({ name }) => name);
const AGENTS = "agents_first_connection_seconds";
const FAILURES = "workspace_creation_failures_total";

function fill(path: string, catalog: readonly Family[]): void {
  using store = Store.open({ path, catalog });
  store.load();
  for (const batch of history()) write(store, batch);
}

/** What a start shows, line by line. Nothing but the file is there to ask. */
function shown(path: string, catalog: readonly Family[], prefix: string): readonly string[] {
  using store = Store.open({ path, catalog });
  const { totals, position } = store.load();
  expect(position).toEqual(POSITION);
  return page(totals, prefix).split("\n").sort();
}

/** Rows of one family, with the number that each got at its birth. */
function rowsOf(path: string, family: string): readonly unknown[] {
  using db = new DatabaseSync(path, { readOnly: true });
  return db.prepare("select id, labels, hex(value) from series where family = ?").all(family);
}

test("one store through all changes", { timeout: 240_000 }, () => {
  const path = join(root, "changed.db");
  fill(path, createCatalog({ agentLabels: AGENT_LABELS, families: [FAILURES] }));
  const failures = rowsOf(path, FAILURES);
  expect(failures.length).toBeGreaterThan(100);
  const changes = [
    { families: NAMED, prefix: "acme_", agentLabels: AGENT_LABELS },
    { families: NAMED, prefix: "coderd_", agentLabels: ["template_name", "agent_name"] },
    { families: [AGENTS, FAILURES], prefix: "", agentLabels: AGENT_LABELS },
    { families: NAMED.slice(1), prefix: "coderd_", agentLabels: ["username"] },
  ] as const;
  for (const [index, { families, prefix, agentLabels }] of changes.entries()) {
    const catalog = createCatalog({ agentLabels, families });
    const fresh = join(root, `${index}.db`);
    fill(fresh, catalog);
    const expected = shown(fresh, catalog, prefix);
    expect(expected.length).toBeGreaterThan(1_000);
    expect(shown(path, catalog, prefix)).toEqual(expected);
    expect(rowsOf(path, FAILURES), "this one was on all the time").toEqual(failures);
  }
});
