// The log: constant messages with fields, one line each, JSON or readable text, to standard error.
//
// What is logged passes one gate: errors keep their words but not what Postgres adds to them (query, parameters, detail,
// where), and a password in a database URL is masked in whatever string it stands.

import { pino } from "pino";

export const LOG_LEVELS = ["fatal", "error", "warn", "info", "debug", "trace"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export type LogFormat = "json" | "text";
export type Fields = Readonly<Record<string, unknown>>;

/** `message` is constant, what varies is in `fields`. An Error may be a field. */
export interface Log {
  error(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  debug(message: string, fields?: Fields): void;
  /** A log whose lines carry this scope (as `outer.inner` when nested) and these fields. */
  child(scope: string, fields?: Fields): Log;
}

export interface LogOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  /** Takes whole lines with their newline. Default: standard error, written before the call returns. */
  readonly write?: (line: string) => void;
}

export function createLog({ level, format, write }: LogOptions): Log {
  // Synchronous: the last line before an exit is the one that is needed.
  const lines = write ? { write } : pino.destination({ dest: 2, sync: true });
  const destination =
    format === "json" ? lines : { write: (line: string) => void lines.write(readable(line)) };
  const logger = pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      messageKey: "message",
    },
    destination,
  );
  return bind(logger, {});
}

/** A log with these fields. Not `pino`'s own child: that repeats a key when an inner scope replaces an outer one. */
function bind(logger: pino.Logger, bound: Fields): Log {
  const at = (level: LogLevel) => (message: string, fields?: Fields) => {
    if (logger.isLevelEnabled(level))
      logger[level]({ ...bound, ...cleanFields(fields ?? {}) }, message);
  };
  const outer = bound["scope"];
  return {
    error: at("error"),
    warn: at("warn"),
    info: at("info"),
    debug: at("debug"),
    child(scope, fields = {}) {
      const path = typeof outer === "string" ? `${outer}.${scope}` : scope;
      return bind(logger, { ...bound, ...cleanFields(fields), scope: path });
    },
  };
}

const URL_PASSWORD = /\b(postgres(?:ql)?:\/\/[^\s:/@]*):\S*@/gi;
const QUERY_PASSWORD = /([?&](?:ssl)?password=)[^&\s"']*/gi;

/** Masks the password in each database URL of a text, up to the last `@` of the word: too much rather than too little. */
export function maskPasswords(text: string): string {
  return text.replace(URL_PASSWORD, "$1:***@").replace(QUERY_PASSWORD, "$1***");
}

const MAX_DEPTH = 6;

function cleanFields(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, clean(value, 0)]));
}

/** A value as it may be logged: what JSON can hold, without secrets. */
function clean(value: unknown, depth: number): unknown {
  if (typeof value === "string") return maskPasswords(value);
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object" || value === null) return value;
  if (depth >= MAX_DEPTH) return "…";
  if (value instanceof Error) return cleanError(value, depth);
  if (value instanceof Date) return value.toISOString();
  if (value instanceof URL) return maskPasswords(value.href);
  if (Array.isArray(value)) return value.map((item) => clean(item, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [name, clean(item, depth + 1)]),
  );
}

const ERROR_FIELDS = ["code", "reason", "hint"] as const;

/** Only these: `pg`'s errors also carry `detail`, `where` and more, which can hold values of rows. */
function cleanError(error: Error, depth: number): Fields {
  const fields: Record<string, unknown> = {
    name: error.name,
    message: maskPasswords(error.message),
  };
  const own = new Map<string, unknown>(Object.entries(error));
  for (const name of ERROR_FIELDS)
    if (typeof own.get(name) === "string") fields[name] = clean(own.get(name), depth);
  // `pg` names its errors after their severity ("error"); a class name helps more.
  if (error.name === "error") fields["name"] = error.constructor.name;
  if (error.cause instanceof Error) fields["cause"] = clean(error.cause, depth + 1);
  return fields;
}

/** `2026-08-21T10:00:00.000Z INFO  follow: slot taken over slot=firstlight pid=4711` */
function readable(line: string): string {
  const parsed: Record<string, unknown> = JSON.parse(line);
  const { level, time, scope, message, ...fields } = parsed;
  const pairs = Object.entries(fields).map(([name, value]) => ` ${name}=${readableValue(value)}`);
  const where = scope === undefined ? "" : `${String(scope)}: `;
  return `${String(time)} ${String(level).toUpperCase().padEnd(5)} ${where}${String(message)}${pairs.join("")}\n`;
}

function readableValue(value: unknown): string {
  if (typeof value === "string" && /^[^\s"=]+$/.test(value)) return value;
  return JSON.stringify(value);
}
