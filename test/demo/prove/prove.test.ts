// What the proof reads: pages and a server's log.

import { expect, test } from "vitest";
import { byTemplate, counters, falls } from "../../../src/demo/prove/page.ts";
import { purposes, statementsIn } from "../../../src/demo/prove/statements.ts";
import { HEAD, lineOf, moved } from "../../../src/demo/prove/table.ts";

const COUNTER = "coderd_workspace_creation_total";
const PAGE = [
  "# HELP firstlight_ready 1",
  `# TYPE ${COUNTER} counter`,
  `${COUNTER}{organization_name="a",template_name="docker",preset_name=""} 3`,
  `${COUNTER}{organization_name="b",template_name="docker",preset_name="x y"} 4`,
  `${COUNTER}{organization_name="a",template_name="say \\"hi\\"",preset_name=""} 1`,
  'coderd_workspace_creations_in_flight{template_name="docker"} 2',
  "",
].join("\n");

test("a counter is summed by template; without totals there is none", () => {
  expect(byTemplate(PAGE, COUNTER)).toEqual(
    new Map([
      ["docker", 7],
      ['say "hi"', 1],
    ]),
  );
  expect(byTemplate("firstlight_ready 0\n", COUNTER)).toBeNull();
});

test("a counter that is lower or gone has fallen, a gauge has not", () => {
  const before = counters(PAGE);
  expect(before.size).toBe(3);
  expect(falls(before, PAGE)).toEqual([]);
  expect(falls(before, PAGE.replace("} 2", "} 1"))).toEqual([]);
  expect(falls(before, PAGE.replace("} 4", "} 3"))).toEqual([expect.stringContaining("4 → 3")]);
  expect(falls(before, PAGE.replace(/.*hi.*\n/, ""))).toEqual([
    expect.stringContaining("1 → gone"),
  ]);
});

test("statements of the follower are taken out of a log, with all their lines", () => {
  const log = [
    "|812|LOG:  statement: select 1",
    "firstlight|900|LOG:  statement: select name",
    "\tfrom public.templates",
    "\twhere id = any ($1)",
    "psql|901|LOG:  statement: select count(*) from workspaces",
    "\tgroup by 1",
    "firstlight|900|LOG:  execute <unnamed>: select pg_catalog.current_database() as database",
    "firstlight|900|LOG:  logical decoding found consistent point at 0/1",
    "\tand a line of its own",
  ].join("\n");
  expect(statementsIn(log)).toEqual([
    "select name from public.templates where id = any ($1)",
    "select pg_catalog.current_database() as database",
  ]);
});

test.each([
  [
    "copy (select change.data from pg_catalog.pg_logical_slot_peek_binary_changes('s') as change) to stdout",
    "slot",
    0,
  ],
  ["select name from public.templates where id = any ($1)", "names", 0],
  [
    "select max(a.ready_at) from public.workspace_agents as a where id = any ($1::uuid[])",
    "names",
    0,
  ],
  ["select count(*) from public.workspace_builds", "names", 1],
  ["copy (select id, max(created_at) from public.workspaces group by id) to stdout", "tables", 1],
  ["copy (select id from public.workspace_agents) to stdout", "tables", 0],
  ["select pg_catalog.set_config('DateStyle', 'ISO', false)", "session", 0],
  ["select attname from pg_attribute where attrelid = 'public.users'::regclass", "session", 0],
] as const)("%s is for: %s", (statement, purpose, aggregates) => {
  const asked = purposes([statement]);
  expect(asked.counts[purpose]).toBe(1);
  expect(asked.aggregates).toHaveLength(aggregates);
});

test("numbers that fell show from where, and columns end together", () => {
  expect([moved(undefined, 7), moved(7, 7), moved(7, 9)]).toEqual(["7", "7", "9"]);
  expect([moved(7, 5), moved(7, undefined), moved(undefined, undefined)]).toEqual([
    "7 → 5",
    "7 → gone",
    "–",
  ]);
  const line = lineOf({ event: "e", coderd: "7 → 5", firstlight: "7", recount: "7" });
  expect(line).toHaveLength(lineOf(HEAD).length);
});
