// The label sets that several families share.

import type { Names } from "../../derive/fact.ts";

export const BUILD_LABELS = ["organization_name", "template_name", "preset_name"];

export const buildLabels = (names: Names): string[] => [
  names.organization,
  names.template,
  names.preset,
];
