// Every all-time metric as data, in the order of exposition. The fold, the exposition and the documentation tables are all made
// from this one list.

import { AGENT_LABELS, type AgentLabel, agentFamilies } from "./families/agents.ts";
import { BUILD_FAMILIES } from "./families/builds.ts";
import { CREATION_FAMILIES } from "./families/creations.ts";
import { DROPPED_SAMPLES } from "./families/dropped.ts";
import { FIRST_LIGHT } from "./families/light.ts";
import { JOB_FAMILIES } from "./families/jobs.ts";
import { PREBUILD_FAMILIES } from "./families/prebuilds.ts";
import { PRESENT_FAMILIES } from "./families/present.ts";
import { START_DURATION } from "./families/starts.ts";
import { type Family, retiredOf } from "./family.ts";

export interface CatalogOptions {
  /** Labels of the first-connection histogram, in order. */
  readonly agentLabels: readonly AgentLabel[];
  /** Names without prefix of the families to have, beside those that always are. Default: all. */
  readonly families?: readonly string[] | undefined;
}

/** The families of this release that are switched on. Another costs nothing: it is neither folded nor stored nor shown. */
export function createCatalog({ agentLabels, families }: CatalogOptions): readonly Family[] {
  const all = allFamilies(agentLabels);
  const on = all.filter(
    ({ name, shown }) => !families || shown === "always" || families.includes(name),
  );
  return on.flatMap((family) =>
    family.type !== "gauge" && family.whose ? [family, retiredOf(family)] : [family],
  );
}

function allFamilies(agentLabels: readonly AgentLabel[]): readonly Family[] {
  return [
    ...CREATION_FAMILIES,
    ...BUILD_FAMILIES,
    ...JOB_FAMILIES,
    ...PREBUILD_FAMILIES,
    ...agentFamilies(agentLabels),
    ...PRESENT_FAMILIES,
    START_DURATION,
    FIRST_LIGHT,
    DROPPED_SAMPLES,
  ];
}

const EVERY_FAMILY = allFamilies(AGENT_LABELS);
/** Those that can be switched on and off, in the order of the catalog. */
const NAMES = EVERY_FAMILY.flatMap(({ name, shown }) => (shown === "always" ? [] : [name]));
const BY_DEFAULT = EVERY_FAMILY.flatMap(({ name, shown }) =>
  shown === "by default" ? [name] : [],
);

/**
 * A list as `--families` has it, read from left to right: `default`, `all`, a name adds, `-name` takes away. The names that remain, in
 * the order of the catalog, and what is wrong with the list.
 */
export function selectFamilies(list: string): {
  readonly families: readonly string[];
  readonly mistakes: readonly string[];
} {
  const chosen = new Set<string>();
  const mistakes: string[] = [];
  const words = list.split(",").map((word) => word.trim());
  for (const [index, word] of words.entries()) {
    const name = word.replace(/^-/, "");
    if (word === "default") for (const each of BY_DEFAULT) chosen.add(each);
    else if (word === "all") for (const each of NAMES) chosen.add(each);
    else if (!NAMES.includes(name)) mistakes.push(unknown(word, name));
    else if (word === name) chosen.add(name);
    else if (index === 0)
      mistakes.push(`there is nothing yet to take ${name} from: begin with default or all`);
    else chosen.delete(name);
  }
  return { families: NAMES.filter((name) => chosen.has(name)), mistakes };
}

function unknown(word: string, name: string): string {
  if (EVERY_FAMILY.some((family) => family.name === name))
    return `${name} is always there; leave it out`;
  return `${JSON.stringify(word)} is no family; there are default, all, and ${NAMES.join(", ")}, each also with a - before it`;
}
