// Facts to text, in both formats: where series begin, what a sample counts, how it is spelled, and that the order of facts and the
// cuts of blocks do not matter.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Micros, SECOND, parseTimestamptz } from "../../src/change/micros.ts";
import type { Fact } from "../../src/derive/fact.ts";
import { Curves } from "../../src/history/curves.ts";
import { FORMATS, type FormatName, estimate } from "../../src/history/formats.ts";
import { blocksOf, tickOf } from "../../src/history/window.ts";
import { createCatalog } from "../../src/metrics/catalog.ts";
import { AGENT_NAMES, NAMES, attempted, connected, ended, uuid } from "../support/rows.ts";
import type { FoldedFamily } from "../../src/metrics/family.ts";
import { OFFERED } from "../support/folding.ts";
import { facts as anyFacts } from "../support/random-facts.ts";

const CATALOG = createCatalog({ agentLabels: ["template_name", "agent_name"] }).filter(
  (family): family is FoldedFamily => family.type !== "gauge" && !family.hiddenIn,
);
/** A multiple of every step and block here. */
const ZERO = parseTimestamptz("2026-08-21 18:00:00+00");
const STEP = 60 * SECOND;
const BLOCK = 7_200 * SECOND;
const minutes = (n: number): Micros => ZERO + Math.round(n * STEP);

interface Written {
  readonly files: readonly string[];
  readonly samples: number;
  /** As they were estimated. */
  readonly estimated: number;
  readonly bytes: number;
}

function write(
  facts: readonly Fact[],
  options: {
    readonly format?: FormatName;
    readonly since?: Micros;
    readonly until?: Micros;
    readonly block?: Micros;
    readonly prefix?: string;
    readonly labels?: readonly (readonly [string, string])[];
    readonly names?: readonly string[];
    readonly everyStep?: boolean;
  } = {},
): Written {
  const { since = ZERO, until = minutes(4), block = BLOCK, prefix = "", labels = [] } = options;
  const format = FORMATS[options.format ?? "openmetrics"];
  const window = format.window({ since, until }, STEP, options.everyStep ?? false);
  const naming = { prefix, labels };
  const families = CATALOG.filter(({ name }) => options.names?.includes(name) ?? true);
  const curves = new Curves(families, window);
  for (const fact of facts) curves.survey(fact);
  const sorted = [...curves.sorted()];
  const { samples: estimated, bytes } = estimate(sorted, format, { window, naming });
  const inOrder = facts
    .filter(({ at }) => tickOf(at, window) > window.first && tickOf(at, window) <= window.last)
    .sort((a, b) => a.at - b.at);
  const files: string[] = [];
  let samples = 0;
  for (const each of blocksOf(window, block)) {
    while (inOrder[0] && tickOf(inOrder[0].at, window) <= each.last)
      curves.mark(inOrder.shift() as Fact);
    let text = "";
    const written = sorted.filter((curve) => format.writes(curve, each, window));
    for (const chunk of format.render(written, each, { window, naming })) {
      text += chunk.text;
      samples += chunk.samples;
      expect(chunk.samples === 0 || (chunk.first >= each.first && chunk.last <= each.last)).toBe(
        true,
      );
    }
    files.push(text);
  }
  expect(samples).toBe(
    files
      .join("")
      .split("\n")
      .filter((line) => /^[^#]/.test(line)).length,
  );
  return { files, samples, estimated, bytes };
}

const sampleLines = (files: readonly string[]): string[] =>
  files.flatMap((file) => file.split("\n").filter((line) => /^[^#]/.test(line)));

/** Lines in which a series has less than before, or that are no later. */
function fallen(lines: readonly string[]): string[] {
  const last = new Map<string, readonly [number, number]>();
  return lines.filter((line) => {
    const [, series = "", value, at] = /^(.*\}) (\S+) (\d+)$/.exec(line) ?? [];
    const [before, then] = last.get(series) ?? [0, 0];
    last.set(series, [Number(value), Number(at)]);
    return !(Number(value) >= before && Number(at) > then);
  });
}

const ATTEMPTS = ["workspace_creation_attempts_total"];
const LABELS = 'organization_name="acme",template_name="docker",preset_name="large"';
const seconds = (at: Micros): number => at / SECOND;

/** The samples of one series: minutes since `ZERO`, and the value. `unit`: of its times. */
function samplesOf(text: string, series: string, unit = SECOND): (readonly [number, number])[] {
  return text
    .split("\n")
    .filter((line) => line.startsWith(`${series} `))
    .map((line) =>
      line
        .slice(series.length + 1)
        .split(" ")
        .map(Number),
    )
    .map(([value = 0, at = 0]) => [(at * unit - ZERO) / STEP, value] as const);
}

describe("OpenMetrics", () => {
  test("a counter begins at 0 one step before its first count, and has a sample at every step to the end", () => {
    const { files, samples } = write([attempted({ at: minutes(1.5) })], { names: ATTEMPTS });
    expect(files).toEqual([
      [
        "# TYPE workspace_creation_attempts counter",
        "# HELP workspace_creation_attempts First builds of workspaces (build number 1, transition start, not by the prebuilds user), counted when their row is committed. Attempts that fail before Coder commits the row are not visible.",
        `workspace_creation_attempts_total{${LABELS}} 0 ${seconds(minutes(1))}`,
        `workspace_creation_attempts_total{${LABELS}} 1 ${seconds(minutes(2))}`,
        `workspace_creation_attempts_total{${LABELS}} 1 ${seconds(minutes(3))}`,
        `workspace_creation_attempts_total{${LABELS}} 1 ${seconds(minutes(4))}`,
        "# EOF",
        "",
      ].join("\n"),
    ]);
    expect(samples).toBe(4);
  });

  test("what was counted before the window is in its first sample; what is at a step counts there", () => {
    const at = [minutes(-500), minutes(0), minutes(0) + 1, minutes(3), minutes(4) + 1];
    const { files } = write(
      at.map((time, n) => attempted({ id: uuid(n), at: time })),
      { names: ATTEMPTS },
    );
    expect(samplesOf(files.join(""), `workspace_creation_attempts_total{${LABELS}}`)).toEqual([
      [0, 2],
      [1, 3],
      [2, 3],
      [3, 4],
      [4, 4],
    ]);
  });

  test("a histogram has cumulative buckets, all from the first sample, its bounds as 1.0 and its sum in seconds", () => {
    const { files, samples } = write(
      [
        connected({ at: minutes(3), took: 41_200_000 }),
        connected({ id: uuid(9), at: minutes(3) + 1, took: 1_000_001 }),
      ],
      { names: ["agents_first_connection_seconds"], prefix: "x_", labels: [["job", 'a"b\\']] },
    );
    const lines = files.join("").split("\n");
    const labels = String.raw`template_name="docker",agent_name="main",job="a\"b\\"`;
    const at = (minute: number): string[] =>
      lines
        .filter((line) => line.endsWith(` ${seconds(minutes(minute))}`))
        .map((line) => line.replace(/ \d+$/, ""));
    const bucket = (le: string, value: number): string =>
      `x_agents_first_connection_seconds_bucket{${labels},le="${le}"} ${value}`;
    expect(lines.slice(0, 1)).toEqual(["# TYPE x_agents_first_connection_seconds histogram"]);
    expect(at(2)).toEqual([
      ...["1.0", "10.0", "30.0", "60.0", "120.0", "300.0", "600.0", "1800.0", "3600.0", "+Inf"].map(
        (le) => bucket(le, 0),
      ),
      `x_agents_first_connection_seconds_sum{${labels}} 0`,
      `x_agents_first_connection_seconds_count{${labels}} 0`,
    ]);
    expect(at(4)).toEqual([
      bucket("1.0", 0),
      bucket("10.0", 1),
      bucket("30.0", 1),
      ...["60.0", "120.0", "300.0", "600.0", "1800.0", "3600.0", "+Inf"].map((le) => bucket(le, 2)),
      `x_agents_first_connection_seconds_sum{${labels}} 42.200001`,
      `x_agents_first_connection_seconds_count{${labels}} 2`,
    ]);
    expect(samples).toBe(3 * 12);
  });

  test("what could have happened begins nothing: offers, other outcomes, other buckets' label sets", () => {
    const { files } = write([
      { ...OFFERED, at: minutes(1) },
      ended({ at: minutes(1), took: SECOND }),
    ]);
    const names = new Set([...files.join("").matchAll(/^(\w+)\{/gm)].map(([, name]) => name));
    expect(names).toContain("workspace_creation_outcomes_total");
    expect(names).not.toContain("workspace_creation_attempts_total");
    expect(files.join("")).not.toContain('status="failure"');
  });

  test("a series goes on from one block to the next, and a block that it has not begun in is without it", () => {
    const names = { ...NAMES, template: "later" };
    const { files } = write(
      [attempted({ at: minutes(1) }), attempted({ id: uuid(8), at: minutes(200), names })],
      {
        names: ATTEMPTS,
        until: minutes(241),
      },
    );
    expect(files).toHaveLength(3);
    for (const file of files) expect(file.endsWith("\n# EOF\n")).toBe(true);
    expect(files[0]).not.toContain("later");
    const early = samplesOf(files.join(""), `workspace_creation_attempts_total{${LABELS}}`);
    expect(early).toEqual(Array.from({ length: 242 }, (_, n) => [n, Math.min(n, 1)]));
    const late = samplesOf(
      files.join(""),
      `workspace_creation_attempts_total{${LABELS.replace("docker", "later")}}`,
    );
    expect(late[0]).toEqual([199, 0]);
    expect(late.at(-1)).toEqual([241, 1]);
    expect(late).toHaveLength(43);
  });
});

describe("VictoriaMetrics", () => {
  test("has a sample for each change, a 0 a step before the first, and one at the end", () => {
    const at = [minutes(2) - 300, minutes(2), minutes(3.5)];
    const { files } = write(
      at.map((time, n) => attempted({ id: uuid(n), at: time })),
      { names: ATTEMPTS, format: "victoriametrics" },
    );
    expect(files).toEqual([
      [
        `workspace_creation_attempts_total{${LABELS}} 0 ${minutes(1) / 1_000}`,
        `workspace_creation_attempts_total{${LABELS}} 2 ${minutes(2) / 1_000}`,
        `workspace_creation_attempts_total{${LABELS}} 3 ${minutes(3.5) / 1_000}`,
        `workspace_creation_attempts_total{${LABELS}} 3 ${minutes(4) / 1_000}`,
        "",
      ].join("\n"),
    ]);
  });

  test("begins within the window, and does not repeat what happens at its end", () => {
    const { files } = write(
      [attempted({ at: minutes(0.5) }), attempted({ id: uuid(2), at: minutes(4) })],
      {
        names: ATTEMPTS,
        format: "victoriametrics",
      },
    );
    const text = files.join("");
    expect(samplesOf(text, `workspace_creation_attempts_total{${LABELS}}`, 1_000)).toHaveLength(3);
    expect(text).toContain(` 0 ${ZERO / 1_000}\n`);
    expect(text).toContain(` 2 ${minutes(4) / 1_000}\n`);
  });

  test("with a step, also at every multiple of it", () => {
    const { files } = write([attempted({ at: minutes(1.5) })], {
      names: ATTEMPTS,
      format: "victoriametrics",
      everyStep: true,
    });
    const series = `workspace_creation_attempts_total{${LABELS}}`;
    expect(samplesOf(files.join(""), series, 1_000)).toEqual([
      [0.5, 0],
      [1, 0],
      [1.5, 1],
      [2, 1],
      [3, 1],
      [4, 1],
    ]);
  });

  test("of a histogram only the lines that change", () => {
    const { files } = write([connected({ at: minutes(2), took: 41_200_000 })], {
      names: ["agents_first_connection_seconds"],
      format: "victoriametrics",
    });
    const changed = files
      .join("")
      .split("\n")
      .filter((line) => line.endsWith(` ${minutes(2) / 1_000}`));
    expect(changed.map((line) => /le="([^"]+)"/.exec(line)?.[1] ?? line.slice(0, 36))).toEqual([
      "60.0",
      "120.0",
      "300.0",
      "600.0",
      "1800.0",
      "3600.0",
      "+Inf",
      "agents_first_connection_seconds_sum{",
      "agents_first_connection_seconds_coun",
    ]);
  });
});

describe("any facts", () => {
  // A few: each is dozens of series with a sample every minute.
  const few = anyFacts.map((facts) => facts.slice(0, 12));
  const placed = few.chain((facts) =>
    fc.tuple(...facts.map(() => fc.integer({ min: -300, max: 450 }))).map((at) =>
      facts.map((fact, n): Fact => ({
        ...fact,
        id: uuid(n),
        at: ZERO + (at[n] ?? 0) * SECOND * 37,
      })),
    ),
  );
  const until = minutes(250);

  test("in any order and in blocks of any length are the same samples, none of which ever falls", () => {
    fc.assert(
      fc.property(
        placed,
        fc.constantFrom(...(Object.keys(FORMATS) as FormatName[])),
        fc.boolean(),
        (facts, format, everyStep) => {
          const whole = write(facts, { format, everyStep, until, block: 1_000 * BLOCK });
          const cut = write(facts.toReversed(), { format, everyStep, until });
          expect(sampleLines(cut.files).sort()).toEqual(sampleLines(whole.files).sort());
          expect(whole.samples).toBeLessThanOrEqual(whole.estimated);
          if (format === "openmetrics") expect(whole.samples).toBe(whole.estimated);
          expect(fallen(sampleLines(cut.files))).toEqual([]);
        },
      ),
      { numRuns: 20 },
    );
  });

  test("an agent's names do not matter where its labels do not say them", () => {
    const [a, b] = ["one", "two"].map((workspace) =>
      write([connected({ at: minutes(1), names: { ...AGENT_NAMES, workspace } })]),
    );
    expect(a).toEqual(b);
  });
});
