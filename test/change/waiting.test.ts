import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { type TimeCells, Waiting } from "../../src/change/waiting.ts";

const T1 = "2026-08-21 10:00:41.2+00";
const T2 = "2026-08-21 10:00:43.7+00";

/** A message, and where the cells stand in it that decode tells the sieve of. */
function message(id: string, time: string): [Buffer, TimeCells] {
  const bytes = Buffer.from(`U…${id}…${time}…`);
  return [
    bytes,
    {
      id: bytes.indexOf(id),
      idLength: id.length,
      time: bytes.indexOf(time),
      length: time.length,
      also: 0,
    },
  ];
}

const isNews = (waiting: Waiting, id: string, time = T1): boolean =>
  waiting.isNews(...message(id, time));

/** The same ids in every run, and as mixed as random ones. */
function uuid(n: number): string {
  const hex = createHash("md5").update(String(n)).digest("hex");
  return hex.replace(/(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** Two ids with one fingerprint, found through what the sieve answers: the birthday of 30 bits is about 40,000 ids. */
function collision(): [string, string] {
  const half = 60_000;
  const waiting = new Waiting();
  for (let n = 0; n < half; n += 1) waiting.addAgent(uuid(n));
  const stranger = Array.from({ length: half }, (_, n) => uuid(half + n)).find((id) =>
    isNews(waiting, id),
  );
  if (stranger === undefined) throw new Error("no collision among these ids");
  let [low, high] = [0, half];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    const part = new Waiting();
    for (let n = low; n < middle; n += 1) part.addAgent(uuid(n));
    if (isNews(part, stranger)) high = middle;
    else low = middle;
  }
  return [uuid(low), stranger];
}

test("a job waits until exactly it is forgotten", () => {
  const waiting = new Waiting();
  waiting.addJob(uuid(1));
  waiting.addJob(uuid(2));
  waiting.forgetJob(uuid(1));
  expect([1, 2, 3].map((n) => waiting.hasJob(uuid(n)))).toEqual([false, true, false]);
});

test("only an agent that waits is news", () => {
  const waiting = new Waiting();
  waiting.addAgent(uuid(1));
  expect(isNews(waiting, uuid(1))).toBe(true);
  expect(isNews(waiting, uuid(2))).toBe(false);
});

test("an agent stays news until it is forgotten, so that an abandoned batch loses nothing", () => {
  const waiting = new Waiting();
  waiting.addAgent(uuid(1));
  expect(isNews(waiting, uuid(1))).toBe(true);
  expect(isNews(waiting, uuid(1))).toBe(true);
  waiting.forgetAgent(uuid(1));
  expect(isNews(waiting, uuid(1))).toBe(false);
});

test("a collision lets too much through and never hides news", () => {
  const [a, b] = collision();
  expect(a).not.toBe(b);

  const waiting = new Waiting();
  waiting.addAgent(a);
  expect(isNews(waiting, b)).toBe(true);

  waiting.addAgent(b);
  waiting.forgetAgent(b);
  expect(isNews(waiting, a), "forgetting one of the two leaves the other waiting").toBe(true);
  waiting.forgetAgent(a);

  const fresh = new Waiting();
  for (const id of [a, b]) fresh.addAgent(id);
  for (const id of [a, b]) fresh.forgetAgent(id);
  expect([a, b].map((id) => isNews(fresh, id))).toEqual([false, false]);
});

test("an agent that was added twice must be forgotten twice", () => {
  const waiting = new Waiting();
  waiting.addAgent(uuid(1));
  waiting.addAgent(uuid(1));
  waiting.forgetAgent(uuid(1));
  expect(isNews(waiting, uuid(1))).toBe(true);
  waiting.forgetAgent(uuid(1));
  expect(isNews(waiting, uuid(1))).toBe(false);
});

test("forgetting an agent that never waited changes nothing", () => {
  const waiting = new Waiting();
  waiting.addAgent(uuid(1));
  waiting.forgetAgent(uuid(2));
  expect(isNews(waiting, uuid(1))).toBe(true);
});

test("a flip of a recent first connection passes once for each change", () => {
  const waiting = new Waiting();
  waiting.addAgent(uuid(1));
  isNews(waiting, uuid(1), T1);
  waiting.forgetAgent(uuid(1));
  const heartbeats = [T1, T1, T2, T2, T2, T1, T1, T2];
  expect(heartbeats.map((time) => isNews(waiting, uuid(1), time))).toEqual([
    false,
    false,
    true,
    false,
    false,
    true,
    false,
    true,
  ]);
});

test("flips are remembered for the last few thousand connections, not for all", () => {
  const waiting = new Waiting();
  const connect = (id: string): void => {
    waiting.addAgent(id);
    isNews(waiting, id, T1);
    waiting.forgetAgent(id);
  };
  connect(uuid(0));
  for (let n = 1; n <= 4_000; n += 1) connect(uuid(n));
  expect(isNews(waiting, uuid(0), T2)).toBe(true);

  for (let n = 10_000; n < 20_000; n += 1) connect(uuid(n));
  expect(isNews(waiting, uuid(0), T1)).toBe(false);
  expect(isNews(waiting, uuid(19_999), T2)).toBe(true);
});

test("a final time is the same, another, or no longer known", () => {
  const waiting = new Waiting();
  expect(waiting.changed(...message(uuid(1), T1))).toBeUndefined();
  waiting.remember(...message(uuid(1), T1));
  expect(waiting.changed(...message(uuid(1), T1))).toBe(false);
  expect(waiting.changed(...message(uuid(1), T2))).toBe(true);
  for (let n = 10; n < 10_000; n += 1) waiting.remember(...message(uuid(n), T1));
  expect(waiting.changed(...message(uuid(1), T2))).toBeUndefined();
});
