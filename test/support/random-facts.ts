// Random facts, of every kind and with every trait.

import fc from "fast-check";
import { SECOND } from "../../src/change/micros.ts";
import type { BuildTraits, Fact } from "../../src/derive/fact.ts";
import { OFFERED } from "./folding.ts";
import { AGENT_NAMES, attempted, connected, created, ended, overdue } from "./rows.ts";

const label = fc.constantFrom("", "a", 'quote"', "über");
/** Few, so that many facts share them. */
const names = fc.record({ organization: label, template: label, preset: label, version: label });
const traits = fc.record<BuildTraits>({
  transition: fc.constantFrom("start", "stop", "delete", "of_another_release"),
  reason: fc.constantFrom("initiator", "autostart", "of_another_release"),
  provisioner: fc.constantFrom("terraform", "echo", ""),
  initial: fc.boolean(),
  prebuild: fc.boolean(),
  claimed: fc.option(label),
});
export const facts: fc.Arbitrary<Fact[]> = fc.array(
  fc.oneof(
    fc.record({ names, traits }).map((given): Fact => attempted(given)),
    fc.record({ names, traits }).map((given): Fact => created(given)),
    names.map((n): Fact => ({ ...OFFERED, names: n })),
    fc
      .record({
        names,
        traits,
        took: fc.option(fc.integer({ min: -5 * SECOND, max: 4_000 * SECOND })),
        status: fc.constantFrom("success", "failure", "canceled"),
        stage: fc.constantFrom("queue", "provisioner"),
        errorCode: fc.constantFrom("other", "user_canceled", "QUOTA", "X"),
      })
      .map(({ status, stage, errorCode, ...rest }): Fact =>
        ended({ ...rest, status, ...(status === "failure" ? { stage, errorCode } : {}) }),
      ),
    fc
      .record({ names, took: fc.integer({ min: -5 * SECOND, max: 4_000 * SECOND }) })
      .map(({ took, names: n }): Fact => connected({ took, names: { ...AGENT_NAMES, ...n } })),
    names.map((n): Fact => overdue({ names: { ...AGENT_NAMES, ...n } })),
  ),
  { maxLength: 40 },
);
