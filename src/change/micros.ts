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
  return parseCommon(text) ?? parseAny(text);
}

/** A time as Postgres prints it, or NULL. */
export function timeOrNull(text: string | null): Micros | null {
  return text === null ? null : parseTimestamptz(text);
}

/** What one more digit of a fraction is worth, by how many there are. */
const FRACTION = [0, 100_000, 10_000, 1_000, 100, 10, 1];

/**
 * The form that all but the oddest times have, by position: a year of four digits that a double holds, and UTC, which our
 * sessions ask for. Tables are full of them, and this is eight times as fast. Null for anything else.
 */
function parseCommon(text: string): Micros | null {
  const end = text.length - 3;
  const wide = end - 20;
  if (end !== 19 && (wide < 1 || wide > 6 || text[19] !== ".")) return null;
  if (text[4] !== "-" || text[7] !== "-" || text[10] !== " ") return null;
  if (text[13] !== ":" || text[16] !== ":" || !text.endsWith("+00")) return null;
  const year = digits(text, 0, 4);
  if (!(year >= 1900 && year < 2200)) return null;
  const seconds =
    daysSinceEpoch(year, digits(text, 5, 7), digits(text, 8, 10)) * 86_400 +
    digits(text, 11, 13) * 3600 +
    digits(text, 14, 16) * 60 +
    digits(text, 17, 19);
  const fraction = end === 19 ? 0 : digits(text, 20, end) * (FRACTION[wide] ?? Number.NaN);
  const micros = seconds * SECOND + fraction;
  return Number.isNaN(micros) ? null : micros;
}

/** In the Gregorian calendar, counting years from March, so that the leap day comes last. */
function daysSinceEpoch(year: number, month: number, day: number): number {
  const y = month > 2 ? year : year - 1;
  const m = month > 2 ? month - 3 : month + 9;
  const leapDays = Math.floor(y / 4) - Math.floor(y / 100) + Math.floor(y / 400);
  return 365 * y + leapDays + Math.floor((153 * m + 2) / 5) + day - 719_469;
}

/** The number that these characters spell; NaN if one of them is no digit. */
function digits(text: string, from: number, to: number): number {
  let value = 0;
  for (let i = from; i < to; i += 1) {
    const digit = text.charCodeAt(i) - 48;
    if (!(digit >= 0 && digit <= 9)) return Number.NaN;
    value = value * 10 + digit;
  }
  return value;
}

function parseAny(text: string): Micros {
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
  return formatIso(at).replace("T", " ").replace("Z", "+00");
}

/** Formats a time as ISO 8601 has it, in UTC, with all six digits. */
export function formatIso(at: Micros): string {
  const millis = Math.floor(at / 1000);
  const micros = at - millis * 1000;
  const iso = new Date(millis).toISOString();
  return `${iso.slice(0, -1)}${String(micros).padStart(3, "0")}Z`;
}
