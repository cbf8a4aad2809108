// What `backfill` says: its last words, and its line on a terminal.

import { describe, expect, test, vi } from "vitest";
import { SECOND, parseTimestamptz } from "../../src/change/micros.ts";
import { terminalProgress } from "../../src/commands/backfill/progress.ts";
import { type Loading, howToLoad, moment, size } from "../../src/commands/backfill/report.ts";

const FIRST = parseTimestamptz("2026-11-01 00:00:00.5+00");
const HOUR = 3_600 * SECOND;

const LOADING: Loading = {
  files: [],
  samples: 1_234_567,
  bytes: 222_000_000,
  flags: { out: "./backfill", format: "openmetrics", labels: [], step: null },
  first: FIRST,
  last: FIRST + 20 * 24 * HOUR,
  step: HOUR,
  blockLength: 54 * HOUR,
  extension: "om",
  now: FIRST + 20.5 * 24 * HOUR,
};

const VM = { format: "victoriametrics" } as const;

const withFlags = (flags: Partial<Loading["flags"]>): string =>
  howToLoad({ ...LOADING, flags: { ...LOADING.flags, ...flags } });

describe("the last words", () => {
  test("name the retention that is needed, with a day to spare, and what is missing for the join", () => {
    const text = howToLoad(LOADING);
    expect(text).toMatch(/^1,234,567 samples, 222 MB, in 0 files in \.\/backfill;/);
    expect(text).toContain("--max-block-duration=54h openmetrics");
    expect(text).toContain(
      "Samples begin at 2026-11-01T00:00:00Z:\nit needs --storage.tsdb.retention.time=22d or more",
    );
    expect(text).toContain(
      "These samples have no job and no instance: give --label job=… --label instance=…",
    );
    expect(text).toContain("samples are 3600 s apart");
  });

  test("are silent about what is in order", () => {
    const labels = [
      ["instance", "x"],
      ["job", "firstlight"],
    ] as const;
    const text = howToLoad({ ...LOADING, step: 60 * SECOND, flags: { ...LOADING.flags, labels } });
    expect(text).not.toContain("These samples have no");
    expect(text).not.toContain("apart");
  });

  test("quote a path for the shell", () => {
    expect(withFlags({ out: "/a b/it's" })).toContain(
      String.raw`for file in '/a b/it'\''s'/*.om; do`,
    );
    expect(withFlags({ out: "/a-b/c_1.d" })).toContain("for file in /a-b/c_1.d/*.om; do");
  });

  test("warn of increase() in VictoriaMetrics, unless there is a sample every five minutes", () => {
    expect(withFlags({ ...VM, step: null })).toContain(
      "last_over_time(x[21d]) - last_over_time(x[21d] offset 7d)",
    );
    expect(withFlags({ ...VM, step: HOUR })).toContain("increase() looks back");
    expect(withFlags({ ...VM, step: 300 * SECOND })).not.toContain("increase()");
    expect(withFlags({ ...VM, step: null })).toContain("-retentionPeriod=22d or more");
  });
});

test.each([
  [0, "0 B"],
  [999, "999 B"],
  [7_240_000_000, "7.2 GB"],
  [55_500_000, "55.5 MB"],
  [222_400_000, "222 MB"],
  [2e15, "2000 TB"],
])("%d bytes are %s", (bytes, text) => {
  expect(size(bytes)).toBe(text);
});

test("moments are told to the second", () => {
  expect(moment(FIRST)).toBe("2026-11-01T00:00:00Z");
});

describe("on a terminal", () => {
  test("it says how far it is, and clears its line", () => {
    const said: string[] = [];
    {
      using progress = terminalProgress((text) => void said.push(text), 5_000);
      progress.surveyed(1_000);
      progress.surveyed(2_000);
      expect(said).toEqual([
        expect.stringMatching(/^\r\S+reading: 1,000 of 5,000 \([\d,]+\/s, \d+ s left\) facts$/),
      ]);
      progress.expect(10_000);
      expect(said.splice(0)).toHaveLength(2);
      progress.wrote(7, 2_500);
      expect(said).toEqual([
        expect.stringMatching(
          /writing: 7 facts, 2,500 of 10,000 \([\d,]+\/s, \d+ s left\) samples$/,
        ),
      ]);
    }
    expect(said.at(-1)).toBe("\r\u001B[K");
  });

  test("the first line is said at once, also in the first quarter of a second of the process", () => {
    using _ = clockAt(0);
    const said: string[] = [];
    using progress = terminalProgress((text) => void said.push(text), 5_000);
    progress.surveyed(1_000);
    expect(said).toHaveLength(1);
  });

  test("nothing where nobody watches", () => {
    using progress = terminalProgress(null, 1);
    progress.surveyed(1);
    progress.expect(1);
    progress.wrote(1, 1);
  });
});

function clockAt(ms: number): Disposable {
  const spy = vi.spyOn(performance, "now").mockReturnValue(ms);
  return { [Symbol.dispose]: () => spy.mockRestore() };
}
