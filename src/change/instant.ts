// A moment as people write it (a time with its zone, a day, or so long ago), and a duration.

import { type Micros, SECOND, clamped } from "./micros.ts";

/** What `askedTime` takes, for messages. */
export const A_TIME =
  "a time with its zone, e.g. 2026-08-21T10:00:00Z, a day (UTC), e.g. 2026-08-21, or so long ago, e.g. 90s, 30m, 24h, 7d";

/** Null where the text is none. `now`: what durations are counted back from. */
export function askedTime(text: string, now: Micros): Micros | null {
  return timeOf(text) ?? longAgo(text, now);
}

// In a query string a + that was not written as %2B arrives as a space.
const TIME =
  /^(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?(?:Z|([-+ ])(\d\d):(\d\d)))?$/;

/** A time with its zone, or the beginning of a day in UTC; null for anything else. */
export function timeOf(text: string): Micros | null {
  const match = TIME.exec(text);
  if (!match) return null;
  const [, day, minute = "00:00", second = "00", fraction = "", sign, hours = 0, minutes = 0] =
    match;
  const written = `${day}T${minute}:${second}.000Z`;
  const ms = Date.parse(written);
  // JavaScript knows a 31st of February.
  if (Number.isNaN(ms) || new Date(ms).toISOString() !== written) return null;
  const offset = (Number(hours) * 3_600 + Number(minutes) * 60) * SECOND;
  const local = ms * 1_000 + Number(fraction.padEnd(6, "0"));
  return clamped(sign === "-" ? local + offset : local - offset);
}

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };

/** Seconds of a duration such as 90s, 30m, 24h or 7d; NaN for anything else. */
export function secondsIn(text: string): number {
  const [, digits, unit = ""] = /^(\d{1,7})([smhd])$/.exec(text) ?? [];
  return Number(digits) * (UNITS[unit] ?? Number.NaN);
}

function longAgo(text: string, now: Micros): Micros | null {
  const seconds = secondsIn(text);
  return Number.isNaN(seconds) ? null : clamped(now - seconds * SECOND);
}
