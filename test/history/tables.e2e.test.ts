// From Coder's tables to files, through promtool, into a real Prometheus: over windows, what it answers is what SQL counts by the rows' own
// times. No code of ours is on the side that is compared with.
//
// By default a month of a small deployment. FIRSTLIGHT_TEST_HISTORY=1 is a year of 100,000 builds and 50,000 agents (16 GB of disk, five minutes).

import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type pg from "pg";
import { expect, test } from "vitest";
import { type Micros, SECOND, formatTimestamptz } from "../../src/change/micros.ts";
import { Random } from "../../src/demo/coder/random.ts";
import { report } from "../crash/support/report.ts";
import { openDeployment } from "../scale/deployment.ts";
import { copySeconds } from "../scale/observe.ts";
import { type Prometheus, missingTool, startPrometheus } from "../support/prometheus.ts";
import { runBackfill } from "./support/command.ts";
import { seriesKey } from "./support/oracle.ts";
import { createBlocks } from "./support/promtool.ts";

const missing = missingTool("prometheus") ?? missingTool("promtool");

const FULL = process.env["FIRSTLIGHT_TEST_HISTORY"] === "1";
const TIMEOUT = FULL ? 3_600_000 : 180_000;
const WORKSPACES = FULL ? 10_000 : 300;
const MOST_MEBIBYTES = 300;
const WINDOWS = 10;
const HOUR = 3_600 * SECOND;
/** As by default for a year; of a month fewer. */
const STEP_HOURS = FULL ? 1 : 6;
const SINCE = Date.parse(FULL ? "2025-01-01T00:00:00Z" : "2025-06-01T00:00:00Z") * 1_000;
const UNTIL = Date.parse(FULL ? "2026-01-01T00:00:00Z" : "2025-07-01T00:00:00Z") * 1_000;

/** Recounts of `sql/recount`, each with the column by whose time a row belongs to a window. */
const COUNTED = [
  ["coderd_workspace_creation_attempts_total", "attempts", "b.created_at"],
  ["coderd_workspace_creation_outcomes_total", "outcomes", "j.completed_at"],
  ["coderd_workspace_creation_failures_total", "failures", "j.completed_at"],
  ["coderd_workspace_creation_duration_seconds", "creation_duration", "j.completed_at"],
  ["coderd_agents_first_connection_seconds", "first_connection", "a.first_connected_at"],
] as const;
/** Of single workspaces, left out of history and of the sums. */
const LEFT_OUT = new Set(["username", "workspace_name"]);

test.skipIf(missing)(
  `${missing ? `SKIPPED, ${missing}: ` : ""}from the tables into Prometheus: ten windows say what SQL counts by the rows' own times`,
  { timeout: TIMEOUT },
  async () => {
    await using stack = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), "firstlight-tables-history-"));
    stack.defer(() => rm(folder, { recursive: true, force: true }));
    const { client, url } = stack.use(await openDeployment(WORKSPACES));
    const out = join(folder, "out");
    const copy = await copySeconds(client);
    const window = ["--since", iso(SINCE), "--until", iso(UNTIL), "--step", `${STEP_HOURS}h`];
    const how = ["--agent-labels", "template_name,agent_name", "--out", out, ...window];
    const written = await runBackfill(["--from", "tables", "--database-url", url, ...how]);
    expect(written).toMatchObject({ code: 0, err: "" });
    expect(written.peakMebibytes).toBeLessThan(MOST_MEBIBYTES);
    const blocks = join(folder, "blocks");
    await mkdir(blocks);
    const began = performance.now();
    const { manifest, taken } = await createBlocks(out, blocks);
    report(`history of ${WORKSPACES * 10} builds, from the tables`, {
      samples: manifest.samples,
      "text in MB": Math.round(manifest.bytes / 1e6),
      "in s": written.seconds.toFixed(1),
      "COPY in s": copy.toFixed(2),
      ratio: (written.seconds / copy).toFixed(1),
      "peak RSS in MiB": written.peakMebibytes,
      "promtool in s": ((performance.now() - began) / 1_000).toFixed(1),
    });
    const sum = taken.reduce((samples, each) => samples + each.samples, 0);
    expect(sum).toBe(manifest.samples);
    await rm(out, { recursive: true });

    const days = Math.ceil((Date.now() * 1_000 - SINCE) / (24 * HOUR));
    const retention = `${days + 30}d`;
    const prometheus = stack.use(await startPrometheus([], undefined, { blocks, retention }));
    const random = new Random(11);
    const steps = (UNTIL - SINCE) / HOUR / STEP_HOURS;
    let compared = 0;
    for (let n = 0; n < WINDOWS; n += 1) {
      const [a, b] = [random.between(1, steps), random.between(1, steps)];
      const [from, to] = a < b ? [a, b] : [b, a + 1];
      const span = {
        after: SINCE + from * STEP_HOURS * HOUR,
        upTo: SINCE + to * STEP_HOURS * HOUR,
      };
      for (const [name, file, time] of COUNTED) {
        const due = await bySql(client, { name, file, time }, span);
        const answered = await byPrometheus(prometheus, name, span);
        expect(answered, `${name} from ${iso(span.after)} to ${iso(span.upTo)}`).toEqual(due);
        compared += due.size;
      }
    }
    expect(compared).toBeGreaterThan(FULL ? 10_000 : 500);
  },
);

interface Span {
  readonly after: Micros;
  readonly upTo: Micros;
}

const iso = (at: Micros): string => new Date(at / 1_000).toISOString();

/** What the rows of a window add to each series; sums rounded to a thousandth of a second. Nothing is no entry. */
async function bySql(
  client: pg.Client,
  { name, file, time }: Readonly<Record<"name" | "file" | "time", string>>,
  { after, upTo }: Span,
): Promise<Map<string, number>> {
  const recount = await readFile(new URL(`../../sql/recount/${file}.sql`, import.meta.url), "utf8");
  const within = `and ${time} > '${formatTimestamptz(after)}' and ${time} <= '${formatTimestamptz(upTo)}'`;
  const { rows } = await client.query<Record<string, string>>(
    recount.replace("\ngroup by", `\n  ${within}\ngroup by`),
  );
  const values = new Map<string, number>();
  const add = (labels: Record<string, string>, suffix: string, text: string | undefined): void => {
    const key = seriesKey(labels, name + suffix);
    values.set(key, (values.get(key) ?? 0) + Number(text));
  };
  for (const row of rows) {
    const names = Object.keys(row).filter((column) => !/^(value|count|sum|le_\d+)$/.test(column));
    const labels = Object.fromEntries(
      names
        .filter((column) => !LEFT_OUT.has(column))
        .map((column) => [column, row[column] ?? ""] as const),
    );
    if (row["value"] !== undefined) {
      add(labels, "", row["value"]);
      continue;
    }
    add(labels, "_count", row["count"]);
    add({ ...labels, le: "+Inf" }, "_bucket", row["count"]);
    add(labels, "_sum", String(Number(row["sum"]) / SECOND));
    for (const [column, text] of Object.entries(row)) {
      const [, bound] = /^le_(\d+)$/.exec(column) ?? [];
      if (bound !== undefined) add({ ...labels, le: `${bound}.0` }, "_bucket", text);
    }
  }
  return grown(values);
}

/** What each series of a family grew by. */
async function byPrometheus(
  prometheus: Prometheus,
  family: string,
  { after, upTo }: Span,
): Promise<Map<string, number>> {
  const values = new Map<string, number>();
  const names = family.endsWith("_total")
    ? [family]
    : ["_bucket", "_sum", "_count"].map((suffix) => family + suffix);
  for (const name of names) {
    const growth = `${name} - ${name} offset ${(upTo - after) / HOUR}h`;
    // What began within the window had nothing before.
    for (const { labels, value } of await prometheus.query(`${growth} or ${name}`, upTo / SECOND))
      values.set(seriesKey(labels, name), value);
  }
  return grown(values);
}

function grown(values: ReadonlyMap<string, number>): Map<string, number> {
  const rounded = [...values].map(
    ([key, value]) => [key, Math.round(value * 1_000) / 1_000] as const,
  );
  return new Map(rounded.filter(([, value]) => value !== 0).sort(([a], [b]) => (a < b ? -1 : 1)));
}
