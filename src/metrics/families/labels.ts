// The label sets that several families share.

import type { BuildNames } from "../../derive/fact.ts";

export const BUILD_LABELS = ["organization_name", "template_name", "preset_name"];

export const buildLabels = (names: BuildNames): string[] => [
  names.organization,
  names.template,
  names.preset,
];
