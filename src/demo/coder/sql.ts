// SQL text with literals in it, for the simulated coderd. Not parameters: a whole transaction is sent as one message, which
// the extended protocol can not do and which makes the simulation several times faster. Every value is escaped by type.

import { escapeLiteral } from "pg";
import { formatTimestamptz, type Micros } from "../../change/micros.ts";

/** One statement, or a part of one, ready to be sent. */
export interface Sql {
  readonly text: string;
}

export type Value = string | number | boolean | null | Uint8Array | Sql;

/** Builds a statement; interpolated values are escaped, `Sql` parts are kept as they are. */
export function sql(strings: TemplateStringsArray, ...values: readonly Value[]): Sql {
  return { text: String.raw({ raw: strings }, ...values.map(literal)) };
}

/** A time as Coder writes it. */
export function time(at: Micros | null): string | null {
  return at === null ? null : formatTimestamptz(at);
}

/** A list for `= any (…)`. Elements must not need quoting (uuids, enum values). */
export function list(elements: readonly string[]): string {
  return `{${elements.join(",")}}`;
}

/** An INSERT of one row. Table and columns are written by us, never by a user. */
export function insert(table: string, row: Readonly<Record<string, Value>>): Sql {
  const values = Object.values(row).map(literal).join(", ");
  return { text: `insert into ${table} (${Object.keys(row).join(", ")}) values (${values})` };
}

/** An UPDATE of the row with this id. */
export function update(table: string, id: string, set: Readonly<Record<string, Value>>): Sql {
  const assignments = Object.entries(set).map(([column, value]) => `${column} = ${literal(value)}`);
  return { text: `update ${table} set ${assignments.join(", ")} where id = ${literal(id)}` };
}

function literal(value: Value): string {
  if (value === null) return "null";
  if (typeof value === "string") return escapeLiteral(value);
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (value instanceof Uint8Array) return `'\\x${Buffer.from(value).toString("hex")}'`;
  return value.text;
}
