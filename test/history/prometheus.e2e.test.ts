// History into a real Prometheus, as the printed commands have it: what it answers is what the facts say, by their own times.
//
// By default three weeks of a small deployment (4 templates, 2 organizations, 2,000 builds, 1,000 agents). FIRSTLIGHT_TEST_HISTORY=1 is
// the size that is promised: a year, 20 templates, 3 organizations, 100,000 builds, 50,000 agents (30 GB of disk, half an hour).

import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { SECOND } from "../../src/change/micros.ts";
import { Random } from "../../src/demo/coder/random.ts";
import { createCatalog, selectFamilies } from "../../src/metrics/catalog.ts";
import { Store } from "../../src/store/store.ts";
import { report } from "../crash/support/report.ts";
import { CATALOG } from "../support/folding.ts";
import { missingTool, startPrometheus } from "../support/prometheus.ts";
import { serving } from "../support/serving.ts";
import { digests, manifestOf, runBackfill } from "./support/command.ts";
import { type Deployment, lifeOf, writeLedger } from "./support/deployment.ts";
import { counted, seriesKey } from "./support/oracle.ts";
import { paste } from "./support/printed.ts";
import { createBlocks, seriesNames } from "./support/promtool.ts";

const missing = missingTool("prometheus") ?? missingTool("promtool");
const title = (text: string): string => (missing ? `SKIPPED, ${missing}: ${text}` : text);

const FULL = process.env["FIRSTLIGHT_TEST_HISTORY"] === "1";
const TIMEOUT = FULL ? 3_600_000 : 180_000;
const MOST_MEBIBYTES = 300;
const WINDOWS = 10;
const HOUR = 3_600 * SECOND;
const DAY = 24 * HOUR;
const DAYS = FULL ? 365 : 21;

/** Late enough that Prometheus takes it for the past and not for ancient history, early enough for promtool. */
const UNTIL = Math.floor((Date.now() * 1_000 - 4 * HOUR) / DAY) * DAY;
const LIFE: Deployment = {
  ...(FULL
    ? { organizations: 3, templates: 20, builds: 100_000, agents: 50_000 }
    : { organizations: 2, templates: 4, builds: 2_000, agents: 1_000 }),
  from: UNTIL - DAYS * DAY,
  until: UNTIL,
};
const IDENTITY = ["--label", "job=firstlight", "--label", "instance=fixed"];

let root = "";
let ledger = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "firstlight-prometheus-history-"));
  ledger = join(root, "firstlight.db");
  if (!missing) writeLedger(ledger, lifeOf(LIFE));
}, TIMEOUT);
afterAll(() => rm(root, { recursive: true, force: true }));

/** Without what the window begins with, and what Prometheus takes no part in. */
function keyOf(
  { job, instance, ...labels }: Readonly<Record<string, string>>,
  name: string,
): string {
  expect([job, instance]).toEqual(["firstlight", "fixed"]);
  return seriesKey(labels, name);
}

test.skipIf(missing)(
  title(
    "twice in a row: the same bytes, in flat memory; and what Prometheus makes of them is what the facts say",
  ),
  { timeout: TIMEOUT },
  async () => {
    const agentLabels = ["template_name", "agent_name"] as const;
    const args = (out: string): string[] =>
      [
        ["--state", ledger, "--out", out],
        IDENTITY,
        ["--agent-labels", agentLabels.join(",")],
        ["--until", new Date(UNTIL / 1_000).toISOString()],
      ].flat();
    const out = join(root, "out");
    const first = await runBackfill(args(out));
    expect(first).toMatchObject({ code: 0, err: "" });
    expect(first.peakMebibytes).toBeLessThan(MOST_MEBIBYTES);
    const again = await runBackfill(args(join(root, "again")));
    expect(again).toMatchObject({ code: 0, err: "" });
    const written = await digests(out);
    expect(await digests(join(root, "again"))).toEqual(written);
    await rm(join(root, "again"), { recursive: true });

    const blocks = join(root, "blocks");
    await mkdir(blocks);
    const began = performance.now();
    const { manifest, taken } = await createBlocks(out, blocks);
    report(`history of ${LIFE.builds} builds`, {
      samples: manifest.samples,
      "text in MB": Math.round(manifest.bytes / 1e6),
      "in s": first.seconds.toFixed(1),
      "peak RSS in MiB": first.peakMebibytes,
      "promtool in s": ((performance.now() - began) / 1_000).toFixed(1),
    });
    expect(first.out).toContain(`${manifest.samples.toLocaleString("en-US")} samples`);
    expect(taken).toEqual(
      manifest.files.map(({ name, samples }) => ({ name, samples, blocks: 1 })),
    );
    for (const { name, sha256 } of manifest.files) expect(written[name]).toBe(sha256);
    await rm(out, { recursive: true });

    await using prometheus = await startPrometheus([], undefined, {
      blocks,
      retention: `${DAYS + 30}d`,
    });
    const { families } = selectFamilies("default");
    const catalog = createCatalog({ agentLabels, families }).filter(
      ({ labels }) => !labels.includes("workspace_name"),
    );
    const random = new Random(7);
    const names = seriesNames(manifest);
    const hours = (UNTIL - LIFE.from) / HOUR;
    for (let n = 0; n < WINDOWS; n += 1) {
      const [a, b] = [random.between(1, hours), random.between(1, hours)];
      const [from, to] = a < b ? [a, b] : [b, a + 1];
      const [after, upTo] = [LIFE.from + from * HOUR, LIFE.from + to * HOUR];
      const expected = new Map(counted(lifeOf(LIFE), catalog, { after, upTo }));
      expect(expected.size, `from ${from} to ${to}`).toBeGreaterThan(0);
      for (const name of names) {
        const grown = `${name} - ${name} offset ${to - from}h`;
        const samples = await prometheus.query(`${grown} or ${name}`, upTo / SECOND);
        for (const { labels, value } of samples) {
          const key = keyOf(labels, name);
          const due = expected.get(key) ?? 0;
          if (name.endsWith("_sum")) expect(value, key).toBeCloseTo(due, 3);
          else expect(value, `${key} from ${from} to ${to}`).toBe(due);
          expected.delete(key);
        }
      }
      expect([...expected].filter(([, value]) => value !== 0)).toEqual([]);
    }

    // At the end of the window, and all the way to it.
    const last = new Map<string, number>();
    for (const name of names) {
      for (const { labels, value } of await prometheus.query(name, UNTIL / SECOND))
        last.set(keyOf(labels, name), value);
      expect(await prometheus.query(`resets(${name}[${DAYS + 1}d]) > 0`, UNTIL / SECOND)).toEqual(
        [],
      );
    }
    const told = new Map(
      Object.entries(manifest.last_values).map(([series, value]) => [
        keyOf(...parsed(series)),
        value,
      ]),
    );
    expect(last.size).toBeGreaterThan(500);
    expect(last).toEqual(told);
  },
);

/** Labels and name of a series as text. */
function parsed(series: string): [Record<string, string>, string] {
  const [, name = "", labels = ""] = /^(\w+)\{(.*)\}$/s.exec(series) ?? [];
  const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/gs)].map(
    ([, label = "", value = ""]) =>
      [label, value.replaceAll(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c))] as const,
  );
  return [Object.fromEntries(pairs), name];
}

test.skipIf(missing)(
  title("live series go on where history ends, label by label, and never fall"),
  { timeout: TIMEOUT },
  async () => {
    const now = Date.now() * 1_000;
    const until = Math.floor((now - 3.5 * HOUR) / (60 * SECOND)) * 60 * SECOND;
    const life = {
      organizations: 2,
      templates: 3,
      builds: 120,
      agents: 60,
      from: now - 20 * HOUR,
      until: now - 60 * SECOND,
    };
    const state = join(root, "live.db");
    writeLedger(state, lifeOf(life));
    const facts = [...lifeOf(life)];
    using store = Store.open({ path: state, catalog: CATALOG });
    await using live = await serving(store.load().totals);

    // While the store is in use.
    const out = join(root, "joined");
    const named = "all,agents_first_connection_seconds,workspace_builds_total";
    const {
      code,
      err,
      out: printed,
    } = await runBackfill(
      [
        ["--state", state, "--out", out, "--metric-prefix", "", "--families", named],
        ["--until", new Date(until / 1_000).toISOString(), "--step", "60s"],
        ["--label", "job=firstlight", "--label", `instance=127.0.0.1:${live.port}`],
      ].flat(),
    );
    expect({ code, err }).toEqual({ code: 0, err: "" });
    const data = join(root, "prometheus", "data");
    await mkdir(data, { recursive: true });
    paste(printed, { DATA: data });
    const manifest = await manifestOf(out);
    expect(manifest.step_seconds).toBe(60);
    await using prometheus = await startPrometheus(live.port, undefined, { blocks: data });
    await prometheus.scraped();

    const at = Math.floor(Date.now() / 1_000);
    const offset = at - until / SECOND;
    const since = counted(facts, CATALOG, { after: until, upTo: now, prefix: "" });
    const all = counted(facts, CATALOG, { after: -Infinity, upTo: now, prefix: "" });
    let joined = 0;
    for (const name of seriesNames(manifest)) {
      const liveSeries = await prometheus.query(name, at);
      for (const { labels, value } of liveSeries) {
        const { job: _, instance: __, ...own } = labels;
        expect(value, name).toBeCloseTo(all.get(seriesKey(own, name)) ?? 0, 3);
      }
      const before = await prometheus.query(`${name} offset ${offset}s`, at);
      const grown = await prometheus.query(`${name} - ${name} offset ${offset}s`, at);
      // Each that history ends with has a live one with all the same labels.
      expect(grown.length, name).toBe(before.length);
      for (const { labels, value } of grown) {
        const { job: _, instance: __, ...own } = labels;
        expect(value, name).toBeCloseTo(since.get(seriesKey(own, name)) ?? 0, 3);
        expect(value).toBeGreaterThanOrEqual(0);
        joined += 1;
      }
      expect(await prometheus.query(`resets(${name}[2d]) > 0`, at)).toEqual([]);
      expect(await prometheus.query(`changes(${name}[2d]) >= 0`, at), name).toHaveLength(
        liveSeries.length,
      );
    }
    expect(joined).toBe(Object.keys(manifest.last_values).length);
    expect(joined).toBeGreaterThan(300);
  },
);
