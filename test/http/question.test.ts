// What a query string asks, or what is wrong with it.

import { describe, expect, test } from "vitest";
import { formatIso, parseTimestamptz } from "../../src/change/micros.ts";
import { questionOf } from "../../src/http/question.ts";

const NOW = parseTimestamptz("2026-08-21 10:00:00.123456+00");

const ask = (text: string): ReturnType<typeof questionOf> =>
  questionOf(new URLSearchParams(text), NOW);

const NOTHING_ASKED = {
  kinds: [
    "attempted",
    "ended",
    "connected",
    "offered",
    "created",
    "deleted",
    "started",
    "ran",
    "ready",
    "overdue",
  ],
  statuses: null,
  stages: null,
  errorCodes: null,
  builds: null,
  since: null,
  until: null,
  before: null,
  limit: 100,
  names: false,
};

describe("a question", () => {
  test("without a word is for the hundred newest facts, without names", () => {
    expect(ask("")).toEqual(NOTHING_ASKED);
  });

  test.each([
    ["kind=ended", { kinds: ["ended"] }],
    ["kind=ended,attempted", { kinds: ["ended", "attempted"] }],
    ["kind=ended&kind=attempted", { kinds: ["ended", "attempted"] }],
    ["kind=ended,ended&kind=ended", { kinds: ["ended"] }],
    ["kind=ended,%20connected", { kinds: ["ended", "connected"] }],
    ["status=failure,canceled", { statuses: ["failure", "canceled"] }],
    ["stage=queue", { stages: ["queue"] }],
    ["error_code=user_canceled&error_code=other", { errorCodes: ["user_canceled", "other"] }],
    ["error_code=SOME%26NEW%20CODE", { errorCodes: ["SOME&NEW CODE"] }],
    ["build=first,claim", { builds: ["first", "claim"] }],
    ["limit=1", { limit: 1 }],
    ["limit=1000", { limit: 1_000 }],
    ["names=true", { names: true }],
    ["names=false", { names: false }],
  ])("%s", (text, asked) => {
    expect(ask(text)).toEqual({ ...NOTHING_ASKED, ...asked });
  });

  test.each([
    ["2026-08-21", "2026-08-21T00:00:00.000000Z"],
    ["2026-08-21T10:00Z", "2026-08-21T10:00:00.000000Z"],
    ["2026-08-21T10:00:30Z", "2026-08-21T10:00:30.000000Z"],
    ["2026-08-21T10:00:30.5Z", "2026-08-21T10:00:30.500000Z"],
    ["2026-08-21T10:00:30.000001Z", "2026-08-21T10:00:30.000001Z"],
    ["2026-08-21T10:00:30%2B02:00", "2026-08-21T08:00:30.000000Z"],
    ["2026-08-21T10:00:30+02:00", "2026-08-21T08:00:30.000000Z"],
    ["2026-08-21T23:30:00-05:30", "2026-08-22T05:00:00.000000Z"],
    ["2024-02-29", "2024-02-29T00:00:00.000000Z"],
    ["0s", "2026-08-21T10:00:00.123456Z"],
    ["90s", "2026-08-21T09:58:30.123456Z"],
    ["30m", "2026-08-21T09:30:00.123456Z"],
    ["24h", "2026-08-20T10:00:00.123456Z"],
    ["7d", "2026-08-14T10:00:00.123456Z"],
    // Beyond what a double holds exactly.
    ["9999999d", "1684-07-28T00:12:25.259009Z"],
  ])("since=%s", (text, iso) => {
    const asked = ask(`since=${text}`);
    expect("since" in asked && asked.since !== null && formatIso(asked.since)).toBe(iso);
    expect(ask(`until=${text}`)).toMatchObject({ until: "since" in asked && asked.since });
  });

  test("goes on where an answer ended", () => {
    const id = "5f0c6f0e-7d40-4bbb-8bd0-0a4b3c1d2e3f";
    expect(ask(`before=2026-08-21T10:00:00.123456Z,ended,${id}`)).toEqual({
      ...NOTHING_ASKED,
      before: { at: NOW, kind: "ended", id },
    });
  });
});

describe("a mistake", () => {
  test.each([
    [
      "kind=failed",
      [
        /^kind "failed": must be of attempted, ended, connected, offered, created, deleted, started, ran, ready, overdue$/,
      ],
    ],
    ["kind=", [/^kind "": must be of attempted/]],
    ["status=failed", [/^status "failed": must be of success, failure, canceled, timeout, error$/]],
    ["stage=provision", [/^stage "provision": must be of queue, provisioner$/]],
    ["build=second", [/^build "second": must be of first, prebuild, claim, other$/]],
    ["limit=0", [/^limit "0": must be a whole number from 1 to 1000$/]],
    ["limit=1001", [/^limit/]],
    ["limit=1e2", [/^limit/]],
    ["limit=-5", [/^limit/]],
    ["limit=", [/^limit/]],
    ["names=yes", [/^names "yes": must be true or false$/]],
    ["names=true&names=false", [/^names: is given 2 times; give it once$/]],
    ["since=yesterday", [/^since "yesterday": must be a time with its zone, e\.g\. 2026.*24h/]],
    ["since=2026-08-21T10:00:00", [/^since/]],
    ["since=2026-02-30", [/^since/]],
    ["since=2026-13-01", [/^since/]],
    ["since=2026-08-21T24:00Z", [/^since/]],
    ["since=24", [/^since/]],
    ["until=-24h", [/^until/]],
    ["since=1h&until=2h", [/^since: must be earlier than until$/]],
    ["before=yesterday", [/^before "yesterday": must be the `next` of an answer$/]],
    ["before=2026-08-21T10:00:00Z,ended,5F", [/^before/]],
    ["before=2026-08-21T10:00:00Z,gone,5f0c6f0e-7d40-4bbb-8bd0-0a4b3c1d2e3f", [/^before/]],
    ["Kind=ended", [/^Kind: is not known; there are kind, status, .*names$/]],
    ["kind=attempted&status=failure", [/^status: only facts of kind ended, ran and ready have/]],
    ["kind=ready&stage=queue", [/^stage: only facts of kind ended and ran have that/]],
    ["kind=offered&stage=queue&error_code=x", [/^stage, error_code: only facts of kind ended/]],
    [
      "kind=connected&build=first",
      [
        /^build: only facts of kind attempted, ended, created, deleted, started and ready have that/,
      ],
    ],
    [
      "kind=x&status=y,z&limit=none&sort=at&since=1",
      [/^sort/, /^kind "x"/, /^status "y"/, /^status "z"/, /^since/, /^limit/],
    ],
  ])("%s", (text, expected) => {
    const asked = ask(text);
    expect(asked).toEqual({ mistakes: expected.map((one) => expect.stringMatching(one)) });
  });
});
