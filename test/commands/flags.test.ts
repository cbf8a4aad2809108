// The flags that a command has for itself: each has a variable, and a switch is true or false.

import { expect, test } from "vitest";
import {
  OWN_FLAGS,
  OWN_VARIABLES,
  namingVariables,
  variableOf,
  withVariables,
} from "../../src/commands/flags.ts";
import { OPTIONS, UsageError, parseConfig } from "../../src/config.ts";

test("a variable is called as its flag, and no setting is called so, too", () => {
  expect(variableOf({ flags: "--whole-tables" })).toBe("FIRSTLIGHT_WHOLE_TABLES");
  expect(variableOf({ flags: "--from <source...>" })).toBe("FIRSTLIGHT_FROM");
  const settings = OPTIONS.map(({ env }) => env);
  expect(settings.filter((name) => OWN_VARIABLES.includes(name))).toEqual([]);
  for (const own of Object.values(OWN_FLAGS))
    for (const flag of own) expect(OWN_VARIABLES).toContain(variableOf(flag));
});

test("a switch is true or false, and what was given at the command line stays", () => {
  const env = { FIRSTLIGHT_JSON: "true", FIRSTLIGHT_ESTIMATE: "false" };
  expect(withVariables("doctor", {}, env)).toEqual({ json: true, estimate: false });
  expect(withVariables("doctor", { estimate: true }, env)).toEqual({ json: true, estimate: true });
  expect(() => withVariables("doctor", {}, { FIRSTLIGHT_JSON: "1" })).toThrow(
    'FIRSTLIGHT_JSON "1": must be true or false',
  );
});

const configOf = (env: Record<string, string>): unknown =>
  parseConfig({ flags: {}, env, beside: OWN_VARIABLES, readFile: () => "", needsDatabase: false });

test("a mistake in what a variable says names the variable", () => {
  const error = new UsageError(["--since x: must be a time", "--step y: must be a duration"]);
  const env = { FIRSTLIGHT_SINCE: "x", FIRSTLIGHT_STEP: "5m" };
  expect(namingVariables(error, "backfill", { step: "y" }, env)).toMatchObject({
    mistakes: ["FIRSTLIGHT_SINCE x: must be a time", "--step y: must be a duration"],
  });
  expect(namingVariables(null, "backfill", {}, env)).toBeNull();
});

test("what changes a database is switched on for one command alone", () => {
  expect(withVariables("teardown", {}, { FIRSTLIGHT_SETUP_APPLY: "true" })).toEqual({});
  expect(withVariables("setup", {}, { FIRSTLIGHT_SETUP_APPLY: "true" })).toEqual({ apply: true });
});

test("what belongs to another command may be set; what is misspelt is a mistake that names the nearest", () => {
  expect(withVariables("serve", {}, { FIRSTLIGHT_SINCE: "2026-01-01" })).toEqual({});
  configOf({ FIRSTLIGHT_SINCE: "2026-01-01" });
  expect(() => configOf({ FIRSTLIGHT_SINSE: "x" })).toThrow(UsageError);
  expect(() => configOf({ FIRSTLIGHT_SINSE: "x" })).toThrow("did you mean FIRSTLIGHT_SINCE?");
});
