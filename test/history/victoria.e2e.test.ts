// History into a real VictoriaMetrics, by the printed commands: sparse, to the millisecond, and exact over any range.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type Micros, SECOND } from "../../src/change/micros.ts";
import type { Fact } from "../../src/derive/fact.ts";
import { Random } from "../../src/demo/coder/random.ts";
import { CATALOG } from "../support/folding.ts";
import { missingTool } from "../support/prometheus.ts";
import { digests, manifestOf, runBackfill } from "./support/command.ts";
import { lifeOf, writeLedger } from "./support/deployment.ts";
import { counted, seriesKey } from "./support/oracle.ts";
import { paste } from "./support/printed.ts";
import { seriesNames } from "./support/promtool.ts";
import { type Victoria, startVictoria } from "./support/victoria.ts";

const missing = missingTool("victoria-metrics");
const title = (text: string): string => (missing ? `SKIPPED, ${missing}: ${text}` : text);
const TIMEOUT = 180_000;

const HOUR = 3_600 * SECOND;
const DAY = 24 * HOUR;
const WINDOWS = 10;

interface Asked {
  readonly names: readonly string[];
  readonly facts: readonly Fact[];
  readonly since: Micros;
  readonly until: Micros;
  readonly grown: (name: string, seconds: number) => string;
}

/** For ten random windows, to the second, and every series. */
async function expectGrown(
  victoria: Victoria,
  { names, facts, since, until, grown }: Asked,
): Promise<void> {
  const random = new Random(3);
  const length = (until - since) / SECOND;
  for (let n = 0; n < WINDOWS; n += 1) {
    const [a, b] = [random.between(1, length - 1), random.between(1, length - 1)];
    const [from, to] = a < b ? [a, b] : [b, a + 1];
    const expected = new Map(
      counted(facts, CATALOG, { after: since + from * SECOND, upTo: since + to * SECOND }),
    );
    expect(expected.size, `from ${from} to ${to}`).toBeGreaterThan(0);
    for (const name of names) {
      const samples = await victoria.query(grown(name, to - from), since / SECOND + to);
      for (const { labels, value } of samples) {
        const { job, instance, ...own } = labels;
        expect([job, instance]).toEqual(["firstlight", "fixed"]);
        const key = seriesKey(own, name);
        const due = expected.get(key) ?? 0;
        if (name.endsWith("_sum")) expect(value, key).toBeCloseTo(due, 3);
        else expect(value, `${key} from ${from} to ${to}`).toBe(due);
        expected.delete(key);
      }
    }
    const missed = [...expected].filter(
      ([key, value]) => value !== 0 && names.includes(key.slice(0, key.indexOf(" "))),
    );
    expect(missed).toEqual([]);
  }
}

test.skipIf(missing)(
  title("with a sample every five minutes increase() is exact over any range"),
  { timeout: TIMEOUT },
  async () => {
    const root = await mkdtemp(join(tmpdir(), "firstlight-victoria-history-"));
    await using cleanup = new AsyncDisposableStack();
    cleanup.defer(() => rm(root, { recursive: true, force: true }));
    const until = Math.floor(Date.now() / 1_000) * SECOND - 10 * 60 * SECOND;
    const from = until - 6 * DAY;
    const life = { organizations: 2, templates: 3, builds: 500, agents: 200, from, until };
    const state = join(root, "firstlight.db");
    writeLedger(state, lifeOf(life));
    const since = until - 3 * DAY;
    const out = join(root, "out");
    const { code, out: printed } = await runBackfill(
      [
        ["--state", state, "--out", out, "--format", "victoriametrics", "--step", "5m"],
        ["--agent-labels", "template_name,agent_name"],
        ["--since", iso(since), "--until", iso(until)],
        ["--label", "job=firstlight", "--label", "instance=fixed"],
      ].flat(),
    );
    expect(code).toBe(0);
    expect(printed).not.toContain("increase()");
    const manifest = await manifestOf(out);
    await using victoria = await startVictoria("1y");
    paste(printed, { "127.0.0.1:8428": `127.0.0.1:${victoria.port}` });
    await victoria.settled();
    expect(await victoria.imported()).toBe(manifest.samples);
    await expectGrown(victoria, {
      names: seriesNames(manifest).filter((name) => !name.includes("agents_")),
      facts: [...lifeOf(life)],
      since,
      until,
      grown: (name, seconds) => `increase(${name}[${seconds}s])`,
    });
  },
);

const iso = (at: Micros): string => new Date(at / 1_000).toISOString();

test.skipIf(missing)(
  title(
    "what it answers for ten random windows is what the facts say, also for series of single workspaces",
  ),
  { timeout: TIMEOUT },
  async () => {
    const root = await mkdtemp(join(tmpdir(), "firstlight-victoria-history-"));
    await using cleanup = new AsyncDisposableStack();
    cleanup.defer(() => rm(root, { recursive: true, force: true }));
    const until = Math.floor(Date.now() / 1_000) * SECOND - 10 * 60 * SECOND;
    const life = {
      organizations: 2,
      templates: 4,
      builds: 500,
      agents: 250,
      from: until - 40 * DAY,
      until,
    };
    const state = join(root, "firstlight.db");
    writeLedger(state, lifeOf(life));
    const facts = [...lifeOf(life)];
    // Begins after there was something to count.
    const since = until - 30 * DAY;
    const args = (out: string): string[] =>
      [
        ["--state", state, "--out", out, "--format", "victoriametrics"],
        ["--families", "all,agents_first_connection_seconds,workspace_builds_total"],
        ["--since", iso(since), "--until", iso(until)],
        ["--label", "job=firstlight", "--label", "instance=fixed"],
      ].flat();
    const out = join(root, "out put");
    const { code, err, out: printed } = await runBackfill(args(out));
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(printed).toContain("increase()");
    expect((await runBackfill(args(join(root, "again")))).code).toBe(0);
    expect(await digests(join(root, "again"))).toEqual(await digests(out));
    const manifest = await manifestOf(out);

    await using victoria = await startVictoria("3y");
    paste(printed, { "127.0.0.1:8428": `127.0.0.1:${victoria.port}` });
    await victoria.settled();
    expect(await victoria.imported()).toBe(manifest.samples);

    // Sparse as it is, so long ago is the sample that counts.
    const names = seriesNames(manifest);
    await expectGrown(victoria, {
      names,
      facts,
      since,
      until,
      grown: (name, seconds) =>
        `(last_over_time(${name}[90d]) - last_over_time(${name}[90d] offset ${seconds}s)) or last_over_time(${name}[90d])`,
    });
    const ends = counted(facts, CATALOG, { after: -Infinity, upTo: until });
    for (const name of names) {
      const last = await victoria.query(`last_over_time(${name}[1d])`, until / SECOND);
      expect(last.length).toBeGreaterThan(0);
      for (const {
        labels: { job: _, instance: __, ...own },
        value,
      } of last)
        expect(value, name).toBeCloseTo(ends.get(seriesKey(own, name)) ?? 0, 3);
      expect(await victoria.query(`resets(${name}[60d]) > 0`, until / SECOND)).toEqual([]);
    }
  },
);
