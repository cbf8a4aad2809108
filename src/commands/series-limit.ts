// What is said in the log when a family comes near its limit, and when it is there.

import type { Log } from "../log.ts";
import { NEAR_LIMIT, type Totals } from "../metrics/pages.ts";

const HINT =
  "fewer labels (--agent-labels) make fewer series, --families leaves this one out (default,-NAME), --series-limit allows more";

/** Looks at totals as they are shown, and says once for each family how far it is. */
export function watchSeries(log: Log): (totals: Totals) => void {
  const near = new Set<string>();
  const full = new Set<string>();
  return ({ tables }) => {
    for (const { family, own, limit } of tables) {
      const { name } = family;
      if (own < limit * NEAR_LIMIT || full.has(name)) continue;
      const fields = { family: name, labelSets: own, limit, hint: HINT };
      if (own >= limit) {
        full.add(name);
        log.warn(
          "a family is at its series limit; new label sets are counted in one series, __other__",
          fields,
        );
      } else if (!near.has(name)) {
        near.add(name);
        log.warn("a family comes near its series limit", fields);
      }
    }
  };
}
