// What facts add up to: births, buckets, what is in flight.

import { describe, expect, test } from "vitest";
import { SECOND } from "../../src/change/micros.ts";
import type { Entity } from "../../src/derive/state.ts";
import type { Fold } from "../../src/metrics/fold.ts";
import { OFFERED, foldOf, series } from "../support/folding.ts";
import {
  NAMES,
  after,
  attempted,
  connected,
  ended,
  pendingAgent,
  pendingBuild,
  uuid,
} from "../support/rows.ts";

const preset = 'preset_name="large"';

describe("series are born at 0", () => {
  const born = {
    workspace_creation_attempts_total: [`{${preset}} 0`],
    workspace_creation_outcomes_total: [
      `{${preset},status="success"} 0`,
      `{${preset},status="failure"} 0`,
      `{${preset},status="canceled"} 0`,
    ],
    workspace_creation_failures_total: [
      `{${preset},stage="queue",error_code="other"} 0`,
      `{${preset},stage="queue",error_code="user_canceled"} 0`,
      `{${preset},stage="provisioner",error_code="other"} 0`,
      `{${preset},stage="provisioner",error_code="user_canceled"} 0`,
    ],
    workspace_creations_in_flight: [`{${preset}} 0`],
    workspace_creation_oldest_in_flight_timestamp_seconds: [],
  };

  test("by a template or preset that can be built: everything it may lead to", () => {
    const totals = foldOf([OFFERED]).publish();
    for (const [name, lines] of Object.entries(born)) expect(series(totals, name)).toEqual(lines);
  });

  test("by an attempt: the same, and the attempt is counted", () => {
    const totals = foldOf([attempted()]).publish();
    for (const [name, lines] of Object.entries(born)) {
      const counted = name.includes("attempts") ? [`{${preset}} 1`] : lines;
      expect(series(totals, name)).toEqual(counted);
    }
  });

  test("by a new error code: wherever builds can fail, and wherever they can from then on", () => {
    const other = { ...NAMES, preset: "small" };
    const third = { ...NAMES, preset: "medium" };
    const failure = ended({ status: "failure", stage: "provisioner", errorCode: "QUOTA" });
    const totals = foldOf([
      OFFERED,
      attempted({ id: uuid(10), names: other }),
      failure,
      attempted({ id: uuid(11), names: third }),
    ]).publish();
    const quota = series(totals, "workspace_creation_failures_total").filter((line) =>
      line.includes("QUOTA"),
    );
    expect(quota.toSorted()).toEqual(
      ["large", "medium", "small"].flatMap((name) =>
        ["provisioner", "queue"].map(
          (stage) =>
            `{preset_name="${name}",stage="${stage}",error_code="QUOTA"} ${name === "large" && stage === "provisioner" ? 1 : 0}`,
        ),
      ),
    );
  });

  test("by an agent that waits: its histogram", () => {
    const lines = series(foldOf([], [pendingAgent()]).publish(), "agents_first_connection_seconds");
    expect(lines).toHaveLength(9 + 3);
    expect(lines.every((line) => line.endsWith(" 0"))).toBe(true);
  });

  test("by an agent whose sample was dropped, so that folding again finds the same series", () => {
    const totals = foldOf([connected({ took: -1 })]).publish();
    expect(series(totals, "agents_first_connection_seconds")).toHaveLength(9 + 3);
    expect(series(totals, "firstlight_dropped_samples_total")).toEqual([
      '{reason="negative"} 1',
      '{reason="out_of_range"} 0',
    ]);
  });

  test("from the beginning: why samples are dropped", () => {
    expect(series(foldOf([]).publish(), "firstlight_dropped_samples_total")).toEqual([
      '{reason="negative"} 0',
      '{reason="out_of_range"} 0',
    ]);
  });
});

describe("the histogram", () => {
  const LABELS = 'template_name="docker",agent_name="main",username="alice",workspace_name="dev"';
  /** Cumulative counts by bucket bound, and sum and count. */
  function observed(seconds: readonly number[]): Readonly<Record<string, number>> {
    const facts = seconds.map((s, n) =>
      connected({ id: uuid(100 + n), took: Math.round(s * SECOND) }),
    );
    const lines = series(foldOf(facts).publish(), "agents_first_connection_seconds");
    return Object.fromEntries(
      lines.map((line) => {
        const [, name = "", value = ""] = /^_(.*) (\S+)$/.exec(line) ?? [];
        return [name.replace(LABELS, "").replace(/bucket\{,le="(.*)"\}|\{\}/, "$1"), Number(value)];
      }),
    );
  }

  test("buckets are cumulative and hold their upper bound", () => {
    expect(observed([0, 1, 1.000001, 30, 3_600, 3_600.000001])).toEqual({
      "1.0": 2,
      "10.0": 3,
      "30.0": 4,
      "60.0": 4,
      "120.0": 4,
      "300.0": 4,
      "600.0": 4,
      "1800.0": 4,
      "3600.0": 5,
      "+Inf": 6,
      count: 6,
      sum: 7_232.000002,
    });
  });

  test("sums are exact to the microsecond, in any order", () => {
    const tenths = Array.from({ length: 10 }, () => 0.1);
    expect(observed(tenths)["sum"]).toBe(1);
    expect(observed([0.000001, 86_400, 0.1, 0.2])["sum"]).toBe(86_400.300001);
    expect(observed([0.2, 0.1, 86_400, 0.000001])["sum"]).toBe(86_400.300001);
  });

  test("durations that no clock can mean are dropped and counted, a century is the limit", () => {
    const century = 100 * 365 * 86_400;
    expect(observed([century, century + 1, -0.000001])).toMatchObject({ count: 1, sum: century });
  });
});

const oldest = (fold: Fold): readonly string[] =>
  series(fold.publish(), "workspace_creation_oldest_in_flight_timestamp_seconds");
const count = (fold: Fold): readonly string[] =>
  series(fold.publish(), "workspace_creations_in_flight");
const waiting = [40, 10, 30].map((seconds, n) =>
  pendingBuild({ id: uuid(20 + n), createdAt: after(seconds) }),
);
const line = (seconds: number): string[] => [`{${preset}} ${after(seconds) / SECOND}`];

describe("the oldest in flight", () => {
  test("is the least creation time of those that wait, to the microsecond", () => {
    const fold = foldOf([], waiting);
    expect(oldest(fold)).toEqual(line(10));
    expect(oldest(fold)).toEqual([`{${preset}} 1787306410.123456`]);
    expect(count(fold)).toEqual([`{${preset}} 3`]);
  });

  test("stays when a younger one ends, and is the next when it ends itself", () => {
    const fold = foldOf([], waiting);
    const [forty, ten, thirty] = waiting as [Entity, Entity, Entity];
    fold.drop(forty);
    expect(oldest(fold)).toEqual(line(10));
    fold.drop(ten);
    expect(oldest(fold)).toEqual(line(30));
    fold.drop(thirty);
    expect(oldest(fold), "absent while there is none").toEqual([]);
    expect(count(fold), "which is a number all the same").toEqual([`{${preset}} 0`]);
    fold.put(forty);
    expect(oldest(fold)).toEqual(line(40));
  });

  test("of two that began together one remains", () => {
    const twins = [1, 2].map((n) => pendingBuild({ id: uuid(n) }));
    const fold = foldOf([], twins);
    fold.drop(twins[0] as Entity);
    expect(oldest(fold)).toEqual(line(0));
  });

  test("putting the same one twice counts it once", () => {
    const fold = foldOf([], [...waiting, ...waiting]);
    expect(count(fold)).toEqual([`{${preset}} 3`]);
  });
});
