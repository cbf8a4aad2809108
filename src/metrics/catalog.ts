// Every all-time metric as data, in the order of exposition. The fold, the exposition and the documentation tables are all made
// from this one list.

import { type AgentLabel, agentFamilies } from "./families/agents.ts";
import { BUILD_FAMILIES } from "./families/builds.ts";
import { CREATION_FAMILIES } from "./families/creations.ts";
import { DROPPED_SAMPLES } from "./families/dropped.ts";
import { JOB_FAMILIES } from "./families/jobs.ts";
import { PREBUILD_FAMILIES } from "./families/prebuilds.ts";
import type { Family } from "./family.ts";

export interface CatalogOptions {
  /** Labels of the first-connection histogram, in order. */
  readonly agentLabels: readonly AgentLabel[];
}

/** The families of this release. */
export function createCatalog({ agentLabels }: CatalogOptions): readonly Family[] {
  return [
    ...CREATION_FAMILIES,
    ...BUILD_FAMILIES,
    ...JOB_FAMILIES,
    ...PREBUILD_FAMILIES,
    ...agentFamilies(agentLabels),
    DROPPED_SAMPLES,
  ];
}
