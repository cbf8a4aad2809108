// The limit of a family: who has a series keeps it, who comes later shares one, and no count is lost or moves.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createCatalog } from "../../src/metrics/catalog.ts";
import { AGENT_LABELS } from "../../src/metrics/families/agents.ts";
import { Fold } from "../../src/metrics/fold.ts";
import { facts } from "../support/random-facts.ts";
import { CATALOG, foldOf, inWorkspace, page, series } from "../support/folding.ts";
import { sortedPage } from "../support/memory-state.ts";
import type { LiveWorkspace } from "../../src/derive/state.ts";
import { must } from "../../src/errors.ts";
import type { Table } from "../../src/metrics/pages.ts";
import {
  NAMES,
  attempted,
  ended,
  liveWorkspace,
  pendingAgent,
  pendingBuild,
  uuid,
} from "../support/rows.ts";

const AGENTS = "agents_first_connection_seconds";
const ATTEMPTS = "workspace_creation_attempts_total";
const OTHER = '{organization_name="__other__",template_name="__other__",preset_name="__other__"}';

const foldTo = (limit: number): Fold => new Fold(CATALOG, limit);
/** An attempt at a preset of this number. */
const attempt = (n: number, preset = n): ReturnType<typeof attempted> =>
  attempted({ id: uuid(n), names: { ...NAMES, preset: `p${preset}` } });
const counts = (fold: Fold, name: string): readonly string[] => series(fold.publish(), name);

/** Attempts that can still have a series of their own. */
function roomOf(fold: Fold): number {
  const { own = 0, limit = 0 } =
    fold.publish().tables.find(({ family }) => family.name === ATTEMPTS) ?? {};
  return limit - own;
}

/** As a restart does: what the store keeps, in the order in which it was told. */
function restart(fold: Fold, limit: number, catalog = CATALOG): Fold {
  const restored = new Fold(catalog, limit);
  for (const each of fold.touched()) restored.restore(each);
  restored.restored();
  return restored;
}

/** Four presets, of which two found room. */
function four(): Fold {
  const fold = foldTo(2);
  for (const n of [1, 2, 3, 4]) fold.add(attempt(n));
  return fold;
}

/** Of all samples, by what stands before the labels. */
function sumsOf(fold: Fold): Readonly<Record<string, number>> {
  const sums: Record<string, number> = {};
  for (const [, name = "", value] of page(fold.publish()).matchAll(/^(\w+)\{.*\} (\S+)$/gm))
    sums[name] = Math.round((sums[name] ?? 0) + Number(value) * 1e6);
  return sums;
}

describe("at the limit", () => {
  test("a new label set is counted in one series, and one that has its own goes on there", () => {
    const fold = foldTo(2);
    for (const n of [1, 2, 3, 4]) fold.add(attempt(n));
    for (const n of [11, 12, 13]) fold.add(attempt(n, n - 10));
    expect(counts(fold, ATTEMPTS).toSorted()).toEqual([
      `${OTHER} 3`,
      '{preset_name="p1"} 2',
      '{preset_name="p2"} 2',
    ]);
  });

  test("a histogram's overflow has every label, sum and bucket", () => {
    const fold = foldTo(1);
    for (const n of [1, 2, 3]) fold.add(inWorkspace(n));
    const other = counts(fold, AGENTS).filter((line) => line.includes("__other__"));
    expect(other).toHaveLength(9 + 3);
    const labels = AGENT_LABELS.map((label) => `${label}="__other__"`).join(",");
    expect(other).toContain(`_count{${labels}} 2`);
    expect(other).toContain(`_sum{${labels}} 82.4`);
  });

  test("what can only be built is not born, and what waits is not", () => {
    const fold = foldTo(1);
    for (const n of [1, 2]) {
      const names = { ...NAMES, preset: `p${n}` };
      fold.add({ ...attempt(n), kind: "offered", names });
    }
    for (const workspace of ["a", "b"])
      fold.put(pendingAgent({ names: { ...pendingAgent().names, workspace } }));
    expect(counts(fold, ATTEMPTS)).toEqual(['{preset_name="p1"} 0', `${OTHER} 0`]);
    expect(counts(fold, `${AGENTS}_count`)).toHaveLength(2);
  });

  test("what is in flight leaves the series that it came to, also where that is shared", () => {
    const fold = foldTo(1);
    const builds = [1, 2, 3].map((n) =>
      pendingBuild({ id: uuid(n), names: { ...NAMES, preset: `p${n}` }, createdAt: n * 1e6 }),
    );
    for (const build of builds) fold.put(build);
    const inFlight = (): readonly string[] => [
      ...counts(fold, "workspace_creations_in_flight"),
      ...counts(fold, "workspace_creation_oldest_in_flight_timestamp_seconds"),
    ];
    const own = '{preset_name="p1"}';
    expect(inFlight()).toEqual([`${own} 1`, `${OTHER} 2`, `${own} 1`, `${OTHER} 2`]);
    fold.drop(builds[1] as never);
    expect(inFlight()).toEqual([`${own} 1`, `${OTHER} 1`, `${own} 1`, `${OTHER} 3`]);
    fold.drop(builds[0] as never);
    fold.drop(builds[2] as never);
    expect(inFlight()).toEqual([`${own} 0`, `${OTHER} 0`]);
  });

  test("label sets that are few by nature are all there", () => {
    const fold = foldTo(1);
    expect(counts(fold, "workspace_builds_enqueued_total")).toHaveLength(45);
    expect(page(fold.publish())).not.toContain("__other__");
    fold.add(attempt(1));
    expect(page(fold.publish())).not.toContain('provisioner_type="__other__"');
  });
});

describe("near the limit", () => {
  test("the overflow series is born at 0 when four fifths are taken, and takes no place", () => {
    const fold = foldTo(10);
    const room = (): number => roomOf(fold);
    for (let n = 1; n <= 7; n += 1) fold.add(attempt(n));
    expect(counts(fold, ATTEMPTS)).not.toContain(`${OTHER} 0`);
    expect(room()).toBe(3);
    fold.add(attempt(8));
    expect(counts(fold, ATTEMPTS)).toContain(`${OTHER} 0`);
    expect(room()).toBe(2);
    for (let n = 9; n <= 10; n += 1) fold.add(attempt(n));
    expect(counts(fold, ATTEMPTS)).toContain(`${OTHER} 0`);
    expect(room()).toBe(0);
    fold.add(attempt(11));
    expect(counts(fold, ATTEMPTS)).toContain(`${OTHER} 1`);
    expect(room()).toBe(0);
  });

  test("there is none without a limit", () => {
    expect(roomOf(foldOf([attempt(1)]))).toBe(Number.POSITIVE_INFINITY);
  });
});

describe("after a restart", () => {
  const ones = ['{preset_name="p1"} 1', '{preset_name="p2"} 1'];

  test("with a higher limit new label sets have series, and what was shared stays so", () => {
    const fold = restart(four(), 10);
    // Of what can be built, what found no room is born now.
    const zeros = ['{preset_name="p3"} 0', '{preset_name="p4"} 0'];
    expect(counts(fold, ATTEMPTS).toSorted()).toEqual([`${OTHER} 2`, ...ones, ...zeros].toSorted());
    fold.add(attempt(13, 3));
    expect(counts(fold, ATTEMPTS)).toContain('{preset_name="p3"} 1');
    expect(counts(fold, ATTEMPTS)).toContain(`${OTHER} 2`);
  });

  test("with a lower limit all that have a series keep it", () => {
    const fold = restart(four(), 1);
    fold.add(attempt(12, 2));
    fold.add(attempt(5));
    expect(counts(fold, ATTEMPTS).toSorted()).toEqual([
      `${OTHER} 3`,
      '{preset_name="p1"} 1',
      '{preset_name="p2"} 2',
    ]);
  });

  test("with the first limit where there was none, the overflow series is there before its first count", () => {
    const fold = restart(foldOf([attempt(1), attempt(2)]), 2);
    const born = [...fold.touched()].filter(({ family }) => family === ATTEMPTS);
    expect(born.map(({ labels }) => labels)).toEqual(['["__other__","__other__","__other__"]']);
    expect(counts(fold, ATTEMPTS)).toEqual([...ones, `${OTHER} 0`]);
  });

  test("it goes on as without one, whatever the limit and the families", () => {
    const options = fc.record({
      limit: fc.oneof(fc.integer({ min: 1, max: 12 }), fc.constant(Number.POSITIVE_INFINITY)),
      families: fc.subarray(CATALOG.map(({ name }) => name)),
    });
    fc.assert(
      fc.property(facts, facts, options, (list, more, { limit, families }) => {
        const catalog = createCatalog({ agentLabels: AGENT_LABELS, families });
        const fold = new Fold(catalog, limit);
        for (const fact of list) fold.add(fact);
        const restored = restart(fold, limit, catalog);
        expect([...restored.touched()]).toEqual([]);
        expect(sortedPage(restored.publish())).toEqual(sortedPage(fold.publish()));
        for (const fact of more) {
          fold.add(fact);
          restored.add(fact);
        }
        expect(sortedPage(restored.publish())).toEqual(sortedPage(fold.publish()));
      }),
      { numRuns: 300 },
    );
  });
});

test("sums over a family are those of a fold without a limit", () => {
  fc.assert(
    fc.property(facts, fc.integer({ min: 1, max: 5 }), (list, limit) => {
      const [limited, free] = [foldTo(limit), new Fold(CATALOG)];
      for (const fold of [limited, free]) for (const fact of list) fold.add(fact);
      for (const { family, size } of limited.publish().tables)
        if (!("initial" in family)) expect(size).toBeLessThanOrEqual(limit + 1);
      // A family of which nothing was born at all has no line in either.
      expect(sumsOf(limited)).toEqual(sumsOf(free));
    }),
    { numRuns: 100 },
  );
});

test("births do not depend on which families are on: how builds fail is known to one that alone is on", () => {
  const failure = ended({ status: "failure", stage: "queue", errorCode: "QUOTA" });
  const without = new Fold(
    createCatalog({ agentLabels: AGENT_LABELS, families: ["workspace_creation_outcomes_total"] }),
  );
  for (const fact of [attempt(1), failure]) without.add(fact);
  const failures = createCatalog({
    agentLabels: AGENT_LABELS,
    families: ["workspace_creation_failures_total"],
  });
  const later = restart(without, 100, failures);
  later.add(attempt(2));
  const born = counts(later, "workspace_creation_failures_total");
  expect(born.filter((line) => line.includes("QUOTA"))).toHaveLength(4);
});

const workspace = (n: number, agents = 1): LiveWorkspace =>
  liveWorkspace({
    id: uuid(n),
    agents,
    workspace: { id: uuid(n), owner: "alice", name: `dev-${n}` },
  });

describe("label sets of the present that come and go", () => {
  const UP = "agents_up";
  const tableOf = (fold: Fold): Table => {
    const { tables } = fold.publish();
    return must(
      tables.find(({ family }) => family.name === UP),
      "agents up",
    );
  };
  const rest = 'template_name="docker",template_version="v7"';
  const line = (n: number, value: number): string =>
    `{username="alice",workspace_name="dev-${n}",${rest}} ${value}`;

  test("leave their places to others: neither memory nor the limit knows of those that are gone", () => {
    const fold = foldTo(3);
    for (let n = 1; n <= 50; n += 1) {
      fold.put(workspace(n));
      if (n > 2) fold.drop(workspace(n - 2));
    }
    const lines = series(fold.publish(), UP).toSorted();
    // The overflow series is there because two of three places are near the limit.
    expect(lines.slice(1)).toEqual([line(49, 1), line(50, 1)]);
    expect(lines[0]).toMatch(/__other__.* 0$/);
    const { series: shown, own, size } = tableOf(fold);
    expect([shown - own, own]).toEqual([1, 2]);
    expect(size).toBeLessThan(6);
  });

  test("do not change what a reader has", () => {
    const fold = foldTo(9);
    fold.put(workspace(1));
    const before = fold.publish();
    const text = page(before);
    fold.drop(workspace(1));
    fold.put(workspace(2));
    expect(page(before)).toBe(text);
    expect(series(fold.publish(), UP)).toEqual([line(2, 1)]);
    expect(page(before)).toBe(text);
  });

  test("are taken from where they were counted, whoever has gone meanwhile", () => {
    const fold = foldTo(2);
    for (const n of [1, 2, 3, 4]) fold.put(workspace(n, n));
    fold.drop(workspace(1, 1));
    fold.drop(workspace(3, 3));
    const sum = (): number =>
      series(fold.publish(), UP).reduce((total, text) => total + Number(text.split(" ").at(-1)), 0);
    expect(sum()).toBe(6);
    for (const n of [2, 4]) fold.drop(workspace(n, n));
    expect(sum()).toBe(0);
  });
});
