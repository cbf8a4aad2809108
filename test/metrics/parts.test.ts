// The exposition in parts: the same text as a naive writer's, in chunks of bytes, and what may be kept of a part.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SECOND } from "../../src/change/micros.ts";
import type { Fact } from "../../src/derive/fact.ts";
import type { Entity } from "../../src/derive/state.ts";
import { type Part, packed, partsOf } from "../../src/metrics/exposition.ts";
import {
  COUNT,
  FIRST_BUCKET,
  PAGE_SIZE,
  SUM,
  type Table,
  type Totals,
} from "../../src/metrics/pages.ts";
import { CATALOG, foldOf, inWorkspace, page } from "../support/folding.ts";
import {
  AGENT_NAMES,
  attempted,
  connected,
  ended,
  pendingAgent,
  pendingBuild,
  uuid,
} from "../support/rows.ts";

/** As the format's description says it, value by value. */
function naive(totals: Totals): string {
  const lines = totals.tables.flatMap((table) => {
    const { name, prefix, help, type } = table.family;
    const told = prefix === "own" ? `firstlight_${name}` : name;
    const series = table.keys
      .slice(0, table.size)
      .flatMap((key, i) => seriesLines(told, table, [key, i]));
    return [`# HELP ${told} ${help}`, `# TYPE ${told} ${type}`, ...series];
  });
  return lines.map((line) => `${line}\n`).join("");
}

function seriesLines(
  name: string,
  { family, pages, width }: Table,
  [key, ordinal]: readonly [string, number],
): string[] {
  const values = JSON.parse(key) as string[];
  const labels = family.labels.map((label, i) => [label, values[i] ?? ""] as const);
  const line = (suffix: string, value: number, ...more: (readonly [string, string])[]): string => {
    const pairs = [...labels, ...more].map(([label, text]) => `${label}=${quoted(text)}`);
    return `${name}${suffix}{${pairs.join(",")}} ${value}`;
  };
  const at = (i: number): number =>
    pages[Math.floor(ordinal / PAGE_SIZE)]?.[(ordinal % PAGE_SIZE) * width + i] ?? Number.NaN;
  if (family.type === "counter" || (family.type === "gauge" && family.value === "count"))
    return [line("", at(0))];
  if (family.type === "gauge") return Number.isNaN(at(0)) ? [] : [line("", at(0) / SECOND)];
  const upTo = (last: number): number =>
    family.buckets.slice(0, last + 1).reduce((sum, _, i) => sum + at(FIRST_BUCKET + i), 0);
  return [
    ...family.buckets.map((le, i) => line("_bucket", upTo(i), ["le", le.toFixed(1)])),
    line("_bucket", at(COUNT), ["le", "+Inf"]),
    line("_sum", at(SUM) / SECOND),
    line("_count", at(COUNT)),
  ];
}

/** Character by character. */
function quoted(text: string): string {
  let escaped = "";
  for (const char of text.split("")) {
    if (char === "\n") escaped += "\\n";
    else escaped += char === '"' || char === "\\" ? `\\${char}` : char;
  }
  return `"${escaped}"`;
}

const name = fc.oneof(
  fc.string({ unit: "binary", maxLength: 12 }),
  fc.string({
    unit: fc.constantFrom('"', "\\", "\n", "n", "{", "ü", "\ud83d", "🚀"),
    maxLength: 6,
  }),
);
const names = fc
  .tuple(name, name, name, name, name, name)
  .map(([organization, template, preset, agent, username, workspace]) => ({
    organization,
    template,
    preset,
    agent,
    username,
    workspace,
  }));
/** Also sums of fractions, and durations between buckets, on their bounds and beyond all. */
const took = fc.oneof(
  fc.integer({ min: -SECOND, max: 5_000 * SECOND }),
  fc.constantFrom(0, 1 * SECOND, 3_600 * SECOND, 3_600 * SECOND + 1),
);
const fact = fc.oneof(
  names.map((n): Fact => attempted({ names: { ...n, version: n.agent } })),
  names.map((n): Fact =>
    ended({
      names: { ...n, version: n.agent },
      status: "failure",
      stage: "queue",
      errorCode: n.agent,
    }),
  ),
  fc.tuple(names, took).map(([n, t]): Fact => connected({ names: n, took: t })),
);
const waiting = fc.oneof(
  fc
    .tuple(names, fc.nat())
    .map(([n, id]): Entity => pendingBuild({ id: uuid(id), names: { ...n, version: n.agent } })),
  names.map((n): Entity => pendingAgent({ names: n })),
);

describe("the text", () => {
  test("is that of a naive writer, for any names and values", () => {
    fc.assert(
      fc.property(
        fc.array(fact, { maxLength: 12 }),
        fc.array(waiting, { maxLength: 4 }),
        fc.nat(600),
        (facts, entities, repeat) => {
          const fold = foldOf(facts, entities);
          // Counts beyond those whose text is kept.
          for (let i = 0; i < repeat; i += 1) fold.add(connected({ id: uuid(i) }));
          const totals = fold.publish();
          expect(page(totals)).toBe(naive(totals));
        },
      ),
      { numRuns: 150 },
    );
  });
});

const part = (texts: readonly string[]): Part => ({
  of: texts,
  count: texts.length,
  text: (i) => texts[i] ?? "",
});

describe("chunks", () => {
  test("hold every text once, in order, as UTF-8, and none is larger than the buffer unless a text is", () => {
    const texts = fc.array(fc.string({ unit: "binary", maxLength: 40 }), { maxLength: 30 });
    fc.assert(
      fc.property(texts, fc.integer({ min: 1, max: 100 }), (list, size) => {
        // Copied: each is valid only until the next is asked for.
        const chunks = packed(part(list), Buffer.alloc(size))
          .map((chunk) => Buffer.from(chunk))
          .toArray();
        expect(Buffer.concat(chunks).equals(Buffer.from(list.join("")))).toBe(true);
        const largest = Math.max(size, ...list.map((text) => text.length * 3));
        for (const { length } of chunks) {
          expect(length).toBeGreaterThan(0);
          expect(length).toBeLessThanOrEqual(largest);
        }
      }),
      { numRuns: 500 },
    );
  });

  test("share one buffer: a page takes no memory of its own", () => {
    const buffer = Buffer.alloc(4_096);
    const chunks = [...packed(part(Array.from({ length: 100 }, () => "x".repeat(500))), buffer)];
    expect(chunks.length).toBeGreaterThan(10);
    expect(chunks.every((chunk) => chunk.buffer === buffer.buffer)).toBe(true);
  });
});

test("parts of the same page and count have the same text, whatever is counted and born in between", () => {
  const fold = foldOf([]);
  const seen = new Map<object, Map<number, string>>();
  let again = 0;
  const look = (): void => {
    for (const { of, count, text } of partsOf(fold.publish(), "")) {
      const told = Array.from({ length: count }, (_, i) => text(i)).join("");
      const byCount = seen.get(of) ?? new Map<number, string>();
      seen.set(of, byCount);
      const before = byCount.get(count);
      if (before !== undefined) again += 1;
      expect(told === (before ?? told)).toBe(true);
      byCount.set(count, told);
    }
  };
  for (let n = 0; n < 2 * PAGE_SIZE; n += 37) {
    for (let i = 0; i < 37; i += 1) {
      const names_ = { ...AGENT_NAMES, workspace: `new-${n + i}` };
      if (i % 2 === 0) fold.add(connected({ id: uuid(n + i), names: names_ }));
      else fold.put(pendingAgent({ id: uuid(n + i), names: names_ }));
    }
    look();
    fold.put(pendingAgent({ id: uuid(100_000 + n), names: { ...AGENT_NAMES, agent: `a${n}` } }));
    look();
    fold.add(inWorkspace(n % 50));
    look();
  }
  expect(again, "the premise").toBeGreaterThan(100);
  expect(seen.size).toBeGreaterThan(CATALOG.length);
});
