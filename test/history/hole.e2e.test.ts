// A hole in a Prometheus that runs: what is loaded into it joins what is there on both sides, in blocks that overlap.

import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type Micros, SECOND } from "../../src/change/micros.ts";
import type { Fact } from "../../src/derive/fact.ts";
import { createCatalog, selectFamilies } from "../../src/metrics/catalog.ts";
import type { Family } from "../../src/metrics/family.ts";
import { until as condition } from "../support/firstlight.ts";
import { missingTool, startPrometheus } from "../support/prometheus.ts";
import { runBackfill } from "./support/command.ts";
import { lifeOf, writeLedger } from "./support/deployment.ts";
import { counted, seriesKey } from "./support/oracle.ts";
import { paste } from "./support/printed.ts";
import { createBlocks, seriesNames } from "./support/promtool.ts";

const missing = missingTool("prometheus") ?? missingTool("promtool");
const title = (text: string): string => (missing ? `SKIPPED, ${missing}: ${text}` : text);
const TIMEOUT = 240_000;
/** Prometheus looks for new blocks once a minute. */
const FOUND_WITHIN_MS = 150_000;

const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const ATTEMPTS = "coderd_workspace_creation_attempts_total";

test.skipIf(missing)(
  title("a hole is filled, and no series falls at either of its edges"),
  { timeout: TIMEOUT },
  async () => {
    const root = await mkdtemp(join(tmpdir(), "firstlight-hole-"));
    await using cleanup = new AsyncDisposableStack();
    cleanup.defer(() => rm(root, { recursive: true, force: true }));
    const end = Math.floor((Date.now() * 1_000 - 3.1 * HOUR) / MINUTE) * MINUTE;
    const life = {
      organizations: 2,
      templates: 3,
      builds: 300,
      agents: 150,
      from: end - 12 * HOUR,
      until: end,
    };
    const state = join(root, "firstlight.db");
    writeLedger(state, lifeOf(life));
    const write = async (name: string, since: Micros, until: Micros): Promise<string> => {
      const { code, err, out } = await runBackfill(
        [
          ["--state", state, "--out", join(root, name), "--step", "1m"],
          ["--since", iso(since), "--until", iso(until)],
          ["--label", "job=firstlight", "--label", "instance=fixed"],
        ].flat(),
      );
      expect({ code, err }).toEqual({ code: 0, err: "" });
      return out;
    };

    // As scrapes would have left it: samples of before and of after, and none in between.
    const [from, to] = [end - 7 * HOUR, end - 4.5 * HOUR];
    await write("before", life.from, from);
    await write("after", to, end);
    const printed = await write("hole", from + MINUTE, to - MINUTE);
    const blocks = join(root, "blocks");
    await mkdir(blocks);
    await createBlocks(join(root, "before"), blocks);
    const { manifest } = await createBlocks(join(root, "after"), blocks);
    await using prometheus = await startPrometheus([], undefined, { blocks });
    const inside = (from + HOUR) / SECOND;
    expect(await prometheus.query(ATTEMPTS, inside)).toEqual([]);
    expect(await prometheus.query(ATTEMPTS, end / SECOND)).not.toEqual([]);

    paste(printed, { DATA: prometheus.data });
    await condition(
      "Prometheus has found the blocks",
      async () => (await prometheus.query(ATTEMPTS, inside)).length > 0,
      FOUND_WITHIN_MS,
    );
    const catalog = createCatalog({
      agentLabels: ["template_name"],
      families: selectFamilies("default,-agents_first_connection_seconds").families,
    });
    // Into the hole, out of it, and over it.
    for (const [after, upTo] of [
      [from - HOUR, from + HOUR],
      [to - HOUR, to + HOUR],
      [from - HOUR, to + HOUR],
    ] as const) {
      const expected = counted(lifeOf(life), catalog, { after, upTo });
      for (const name of seriesNames(manifest)) {
        const grown = `(${name} - ${name} offset ${(upTo - after) / SECOND}s) or ${name}`;
        const samples = await prometheus.query(grown, upTo / SECOND);
        expect(samples.length, name).toBeGreaterThan(0);
        for (const { labels, value } of samples) {
          const { job: _, instance: __, ...own } = labels;
          expect(value, name).toBeCloseTo(expected.get(seriesKey(own, name)) ?? 0, 3);
        }
      }
    }
    for (const name of seriesNames(manifest))
      expect(await prometheus.query(`resets(${name}[13h]) > 0`, end / SECOND)).toEqual([]);
    // From the minute of its first event on, no series is without a sample for longer than a minute: which one came first, and
    // when, depends on the hour at which this runs.
    const samples = await prometheus.query(
      `count_over_time(${ATTEMPTS}[${12 * 60 - 1}m30s])`,
      end / SECOND,
    );
    const first = firstEvents(lifeOf(life), catalog);
    expect(samples.length).toBeGreaterThan(0);
    for (const { labels, value } of samples) {
      const { job: _, instance: __, ...own } = labels;
      const key = seriesKey(own, ATTEMPTS);
      const since = Math.max(first.get(key) ?? NaN, life.from + MINUTE);
      const minutes = Math.floor((end - since) / MINUTE) + 1;
      expect(value, key).toBeGreaterThanOrEqual(minutes);
    }
  },
);

/** When each series was first counted. */
function firstEvents(facts: Iterable<Fact>, catalog: readonly Family[]): Map<string, Micros> {
  const first = new Map<string, Micros>();
  for (const fact of facts)
    for (const key of counted([fact], catalog, { after: -Infinity, upTo: Infinity }).keys())
      first.set(key, Math.min(first.get(key) ?? Infinity, fact.at));
  return first;
}

const iso = (at: Micros): string => new Date(at / 1_000).toISOString();
