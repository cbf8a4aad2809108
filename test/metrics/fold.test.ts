// What facts add up to: births, buckets, what is in flight.

import { describe, expect, test } from "vitest";
import { SECOND } from "../../src/change/micros.ts";
import type { BuildTraits, Ended, Fact } from "../../src/derive/fact.ts";
import type { Entity } from "../../src/derive/state.ts";
import type { Fold } from "../../src/metrics/fold.ts";
import { OFFERED, foldOf, series } from "../support/folding.ts";
import {
  NAMES,
  TRAITS,
  after,
  attempted,
  connected,
  created,
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

/** Series of builds and prebuilds that are not 0, of what is counted and not of the buckets. */
function countedOf(facts: readonly Fact[]): readonly string[] {
  const totals = foldOf(facts).publish();
  const names = ["workspace_builds_enq", "workspace_creation_duration", "prebuilt_"];
  return names
    .flatMap((name) => series(totals, name).map((line) => name + line))
    .filter((line) => !line.includes("_bucket{") && !line.endsWith(" 0"))
    .map((line) => line.replace('template_name="docker",', ""))
    .map((line) => line.replace(',organization_name="acme"', ""));
}

const droppedOf = (given: Partial<Ended>): readonly string[] =>
  series(foldOf([ended({ took: -1, ...given })]).publish(), "firstlight_dropped_samples_total");

const creations = (traits: BuildTraits) =>
  series(foldOf([created({ traits })]).publish(), "workspace_creation_total");

/** How many series there are of what a provisioner had, and of how long it had it. */
const counted = (took: number | null) =>
  ["workspace_builds_total", "provisionerd_workspace_build_timings_seconds_count"].map(
    (name) => series(foldOf([ended({ took })]).publish(), name).length,
  );

/** What is counted of prebuilds. */
const pool = (facts: readonly Fact[]): readonly string[] =>
  countedOf(facts).filter((line) => line.startsWith("prebuilt_"));

describe("builds of every kind", () => {
  const FIRST = TRAITS;
  const RESTART = { ...TRAITS, initial: false, reason: "autostart" };
  const STOP = { ...TRAITS, initial: false, transition: "stop" } as const;
  const PREBUILD = { ...TRAITS, prebuild: true };
  const UNMADE = { ...TRAITS, prebuild: true, initial: false, transition: "delete" } as const;
  const CLAIM = { ...TRAITS, initial: false, claimed: "medium" };
  const success = { took: 42 * SECOND };
  const failure = {
    ...success,
    status: "failure",
    stage: "provisioner",
    errorCode: "other",
  } as const;
  const canceled = { ...success, status: "canceled" } as const;

  test.each([
    ["a first build", FIRST, "initiator", "start"],
    ["a restart", RESTART, "autostart", "start"],
    ["a stop", STOP, "initiator", "stop"],
    ["the removal of a prebuild", UNMADE, "prebuild", "delete"],
    ["a claim", { ...CLAIM, claimed: "" }, "initiator", "start"],
  ])("%s is enqueued with its reason", (_name, traits, reason, transition) => {
    expect(countedOf([attempted({ traits })])).toEqual([
      `workspace_builds_enqueued_total{provisioner_type="terraform",build_reason="${reason}",transition="${transition}",status="success"} 1`,
    ]);
  });

  test("a prebuild is created, and fails, under its preset; without a preset it is none of the pool's", () => {
    const all = [attempted({ traits: PREBUILD }), ended({ traits: PREBUILD, ...failure })];
    expect(pool(all)).toEqual([
      'prebuilt_workspaces_created_total{preset_name="large"} 1',
      'prebuilt_workspaces_failed_total{preset_name="large"} 1',
    ]);
    const bare = all.map((fact) => ({ ...fact, names: { ...NAMES, preset: "" } }));
    expect(pool(bare)).toEqual([]);
    // Its removal is by the same user and no prebuild.
    expect(pool([attempted({ traits: UNMADE }), ended({ traits: UNMADE, ...failure })])).toEqual(
      [],
    );
  });

  test("a claim counts when it is made, under the preset of the prebuild, and is timed under its own", () => {
    expect(countedOf([attempted({ traits: CLAIM })])).toContain(
      'prebuilt_workspaces_claimed_total{preset_name="medium"} 1',
    );
    expect(countedOf([ended({ traits: CLAIM, ...success })])).toEqual([
      `prebuilt_workspace_claim_duration_seconds_sum{${preset}} 42`,
      `prebuilt_workspace_claim_duration_seconds_count{${preset}} 1`,
    ]);
  });

  test.each([
    ["regular", FIRST],
    ["prebuild", PREBUILD],
  ])("what creates a workspace is timed: %s", (type, traits) => {
    expect(countedOf([ended({ traits, ...success })])).toEqual([
      `workspace_creation_duration_seconds_sum{${preset},type="${type}"} 42`,
      `workspace_creation_duration_seconds_count{${preset},type="${type}"} 1`,
    ]);
  });

  test("nothing else is timed: restarts, stops, what failed or was canceled, what no provisioner had", () => {
    for (const traits of [RESTART, STOP, UNMADE])
      expect(countedOf([ended({ traits, ...success })])).toEqual([]);
    for (const traits of [FIRST, PREBUILD, CLAIM]) {
      const durations = [failure, canceled, { took: null }].flatMap((end) =>
        countedOf([ended({ traits, ...end })]),
      );
      expect(durations.filter((line) => line.includes("duration"))).toEqual([]);
    }
  });

  test("a duration that can not be one is dropped and counted, if it would have been observed", () => {
    for (const given of [{}, { traits: STOP }, failure, canceled])
      expect(droppedOf({ ...given, took: -1 })).toContain('{reason="negative"} 1');
    expect(droppedOf({ took: null })).toContain('{reason="negative"} 0');
  });

  test.each([
    ["a start", FIRST, {}, "START", "success"],
    ["a stop that failed", STOP, failure, "STOP", "failed"],
    ["the removal of a prebuild", UNMADE, {}, "DESTROY", "success"],
    ["a build that was canceled but done", RESTART, canceled, "START", "success"],
    ["one of a transition to come", { ...STOP, transition: "rest" }, {}, "REST", "success"],
  ])("what a provisioner had is counted and timed: %s", (_name, traits, end, word, status) => {
    const totals = foldOf([ended({ traits, ...success, ...end })]).publish();
    const what = `template_name="docker",template_version="v7",workspace_transition="${word}",status="${status}"`;
    expect(series(totals, "workspace_builds_total")).toEqual([
      `{workspace_owner="alice",workspace_name="dev",${what}} 1`,
    ]);
    expect(series(totals, "provisionerd_workspace_build_timings_seconds_sum")).toEqual([
      `{${what}} 42`,
    ]);
  });

  test("how a build may end exists at 0 once it is attempted", () => {
    const totals = foldOf([attempted({ traits: STOP })]).publish();
    const what = `template_name="docker",template_version="v7",workspace_transition="STOP"`;
    expect(series(totals, "workspace_builds_total")).toEqual(
      ["success", "failed"].map(
        (status) => `{workspace_owner="alice",workspace_name="dev",${what},status="${status}"} 0`,
      ),
    );
    expect(series(totals, "provisionerd_workspace_build_timings_seconds_count")).toEqual(
      ["success", "failed"].map((status) => `{${what},status="${status}"} 0`),
    );
  });

  test("what no provisioner had is neither, and what has no possible duration is counted only", () => {
    expect([counted(null), counted(-1), counted(0)]).toEqual([
      [0, 0],
      [1, 0],
      [1, 1],
    ]);
  });

  test("a workspace is created once, by a person; what the pool makes is none of it", () => {
    expect(creations(FIRST)).toEqual([`{${preset}} 1`]);
    expect(creations(RESTART)).toEqual([`{${preset}} 1`]);
    expect(creations(PREBUILD)).toEqual([]);
    expect(series(foldOf([attempted()]).publish(), "workspace_creation_total")).toEqual([
      `{${preset}} 0`,
    ]);
  });

  test("only a person's first build is an attempt of the headline, with an outcome, or in flight", () => {
    for (const traits of [RESTART, STOP, PREBUILD, UNMADE, CLAIM]) {
      const waits = pendingBuild({ traits });
      const facts = [attempted({ traits }), ended({ traits, ...failure })];
      const totals = foldOf(facts, [waits]).publish();
      const lines = ["attempts", "outcomes", "failures", "s_in_flight"].flatMap((name) =>
        series(totals, `workspace_creation${name === "s_in_flight" ? "" : "_"}${name}`),
      );
      expect(lines.length).toBeGreaterThan(8);
      expect(lines.filter((line) => !line.endsWith(" 0"))).toEqual([]);
    }
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
