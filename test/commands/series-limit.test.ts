// What the log says of families that come to their limit: once each time, and what to do.

import { expect, test } from "vitest";
import { watchSeries } from "../../src/commands/series-limit.ts";
import { createLog } from "../../src/log.ts";
import { Fold } from "../../src/metrics/fold.ts";
import { CATALOG, inWorkspace } from "../support/folding.ts";

const AGENTS = "agents_first_connection_seconds";

function watched(limit: number) {
  const lines: string[] = [];
  const log = createLog({ level: "info", format: "json", write: (line) => void lines.push(line) });
  const watch = watchSeries(log);
  const fold = new Fold(CATALOG, limit);
  let agents = 0;
  return {
    add(count: number): void {
      for (let n = 0; n < count; n += 1) fold.add(inWorkspace((agents += 1)));
    },
    /** What is said when the totals are shown now. */
    show(): readonly string[] {
      lines.length = 0;
      watch(fold.publish());
      return lines;
    },
  };
}

test("nothing before four fifths, then one line, and one at the limit", () => {
  const { add, show } = watched(10);
  add(7);
  expect(show()).toEqual([]);
  add(1);
  const [near = "", ...more] = show();
  expect(more).toEqual([]);
  expect(JSON.parse(near)).toMatchObject({
    level: "warn",
    message: "a family comes near its series limit",
    family: AGENTS,
    labelSets: 8,
    limit: 10,
  });
  for (const flag of ["--families", "--agent-labels", "--series-limit"])
    expect(near).toContain(flag);
  expect(show()).toEqual([]);
  add(1);
  expect(show()).toEqual([]);
  add(1);
  const [full = "", ...others] = show();
  expect(others).toEqual([]);
  expect(JSON.parse(full)).toMatchObject({ level: "warn", family: AGENTS, labelSets: 10 });
  expect(full).toContain("__other__");
  add(5);
  expect(show()).toEqual([]);
});

test("both at once are one line, of each family", () => {
  const { add, show } = watched(1);
  add(3);
  // The second has one label set for the agents of all workspaces, which is as many as it may have.
  expect(show().map((line) => (JSON.parse(line) as { family: string }).family)).toEqual([
    AGENTS,
    "agents_connection_timeouts_total",
  ]);
  expect(show()).toEqual([]);
});

test("nothing without a limit", () => {
  const { add, show } = watched(Number.POSITIVE_INFINITY);
  add(300);
  expect(show()).toEqual([]);
});
