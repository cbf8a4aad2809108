// Names for the simulated deployment. Preset names are free text in Coder, so some of them need escaping in Prometheus labels;
// the odd names of other things, which Coder itself would refuse, are for tests that want every label to need it.

import type { Random } from "./random.ts";

export const ORGANIZATIONS = ["coder", "research"] as const;

export const USERNAMES = [
  "ada",
  "barbara",
  "edsger",
  "grace",
  "ken",
  "margaret",
  "radia",
  "tony",
] as const;

export const PRESETS = ["small", 'GPU "large"', "C:\\dev", "日本語 (東京)", "Größe XL"] as const;

/** A quote, a backslash, unicode beyond the basic plane, a brace: what a careless exposition breaks on. */
export const ODD = {
  template: 'odd "quoted" \\t{🦦}',
  agent: "näytös\\n",
  username: 'o"brien\\',
} as const;

const COLORS = [
  "amber",
  "azure",
  "coral",
  "crimson",
  "emerald",
  "indigo",
  "ivory",
  "jade",
  "olive",
  "violet",
] as const;
const ANIMALS = [
  "badger",
  "crane",
  "dingo",
  "gecko",
  "heron",
  "ibis",
  "lynx",
  "marmot",
  "otter",
  "wombat",
] as const;

/** A name as Coder suggests it; `serial` makes it unique. */
export function moniker(random: Random, serial: number): string {
  return `${random.pick(COLORS)}-${random.pick(ANIMALS)}-${serial}`;
}
