// Time as integer microseconds: what Postgres stores and Coder writes. Exact in a double until the year 2255,
// and sums of durations are order-free.

/** Integer microseconds: since the Unix epoch for times, plain for durations and their sums. */
export type Micros = number;

/** Microseconds between the Unix epoch and Postgres' (2000-01-01), the origin of times in the replication protocol. */
export const POSTGRES_EPOCH: Micros = 946_684_800_000_000;

export const SECOND: Micros = 1_000_000;

const TIMESTAMPTZ =
  /^(\d{4,6})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?( BC)?$/;

/**
 * Parses `timestamptz` output under DateStyle ISO (any time zone), e.g. `2026-08-21 10:00:00.123456+00`.
 * Times that a double can not hold exactly (before 1685 or after 2255, ±infinity) are clamped. Throws `SyntaxError` on other styles: a session whose DateStyle
 * is not ISO must stop the stream, not turn into missing values.
 */
export function parseTimestamptz(text: string): Micros {
  const m = TIMESTAMPTZ.exec(text);
  if (!m) {
    if (text === "infinity") return Number.MAX_SAFE_INTEGER;
    if (text === "-infinity") return -Number.MAX_SAFE_INTEGER;
    throw new SyntaxError(`not an ISO timestamptz: ${JSON.stringify(text)}`);
  }
  // Postgres' years go on where those of JavaScript end; such times are clamped below all the same.
  const year = m[12] === undefined ? Math.min(Number(m[1]), 9_999) : 1 - Number(m[1]);
  const date = new Date(0);
  date.setUTCFullYear(year, Number(m[2]) - 1, Number(m[3]));
  date.setUTCHours(Number(m[4]), Number(m[5]), Number(m[6]));
  const offset = (Number(m[9]) * 3600 + Number(m[10] ?? 0) * 60 + Number(m[11] ?? 0)) * SECOND;
  const micros = date.getTime() * 1000 + Number((m[7] ?? "").padEnd(6, "0"));
  const utc = m[8] === "-" ? micros + offset : micros - offset;
  return clamped(utc);
}

/** The nearest time or duration that a double holds exactly, and the store with it. */
export function clamped(micros: number): Micros {
  return Math.max(-Number.MAX_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, micros));
}

/** Formats a time as `timestamptz` text in UTC, for parameters of queries and for logs. */
export function formatTimestamptz(at: Micros): string {
  const millis = Math.floor(at / 1000);
  const micros = at - millis * 1000;
  const iso = new Date(millis).toISOString();
  return `${iso.slice(0, -1)}${String(micros).padStart(3, "0")}+00`.replace("T", " ");
}
