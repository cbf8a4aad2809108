// Which of our metrics coderd exports under the same name: both in one Prometheus double every sum.

import { createCatalog } from "../../metrics/catalog.ts";
import { type Family, fullName } from "../../metrics/family.ts";
import type { Config } from "../../config.ts";
import type { Diagnosis } from "../../postgres/doctor/diagnosis.ts";

/** coderd's own prefix. */
const THEIRS = "coderd_";
/** How the catalog's words for upstream begin where coderd exports that name: with the release that began, if it is known. */
const EXPORTED = /^coderd(?: (\d+\.\d+(?:\.\d+)?))?[:, ]/;

/** Since which release coderd exports a family's name, empty where always; null: it does not. */
export function exportedSince({ upstream }: Family): string | null {
  const found = upstream === undefined ? null : EXPORTED.exec(upstream);
  return found === null ? null : (found[1] ?? "");
}

/** A note with the rule that drops coderd's side. Pure. */
export function familiesNote(
  config: Pick<Config, "agentLabels" | "families" | "metricPrefix">,
): Diagnosis[] {
  if (config.metricPrefix !== THEIRS) return [];
  const both = createCatalog(config).flatMap((family) => {
    const since = exportedSince(family);
    return since === null ? [] : [{ name: fullName(family, THEIRS), since }];
  });
  if (both.length === 0) return [];
  const told = both.map(({ name, since }) => (since === "" ? name : `${name} (from ${since} on)`));
  const names = both.map(({ name }) => name.slice(THEIRS.length)).join("|");
  return [
    {
      check: "families",
      severity: "note",
      problem: `coderd exports these names, too, so that sums over both jobs count twice: ${told.join(", ")}`,
      fix: [
        "# in Prometheus' scrape job of coderd: drops its side. Or another --metric-prefix here.",
        "metric_relabel_configs:",
        "  - source_labels: [__name__]",
        `    regex: ${THEIRS}(${names})(_bucket|_sum|_count)?`,
        "    action: drop",
      ].join("\n"),
    },
  ];
}
