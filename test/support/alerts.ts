// The alerts of deploy/, read.

import { parse } from "yaml";
import { z } from "zod";

export const ALERTS = new URL("../../deploy/prometheus/alerts.rules.yml", import.meta.url);

const file = z.object({
  groups: z.array(
    z.object({
      rules: z.array(
        z.object({
          alert: z.string(),
          expr: z.string(),
          labels: z.record(z.string(), z.string()),
          annotations: z.object({
            summary: z.string(),
            description: z.string(),
            runbook_url: z.string(),
          }),
        }),
      ),
    }),
  ),
});

/** Every alert of a file of rules, in its order. */
export const alertRules = (text: string): z.infer<typeof file>["groups"][number]["rules"] =>
  file.parse(parse(text)).groups.flatMap((group) => group.rules);
