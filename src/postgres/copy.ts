// COPY … TO STDOUT as rows of text cells, streamed: memory holds one network chunk, whatever the size of the table.

import { to as copyTo } from "pg-copy-streams";
import { classify, codeOf } from "./errors.ts";
import type { Session } from "./session.ts";

const LINE_FEED = 0x0a;

/**
 * Rows handed on at once. What is alive of a group when the young generation is collected, with all that is derived from it, ends up in
 * the old one, which is collected late: with all rows of a network chunk (some 300) it grew to five times what was needed.
 */
const ROWS_AT_ONCE = 64;

/**
 * Rows of a query, each with its cells in text form (null for NULL), in groups as they arrive. `query` takes no
 * parameters: COPY knows none. Throws classed errors.
 */
export async function* copyRows(
  session: Session,
  query: string,
): AsyncGenerator<(string | null)[][]> {
  const stream = session.client.query(copyTo(`copy (${query}) to stdout`));
  let rest: Buffer = Buffer.alloc(0);
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      const bytes = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
      let rows: (string | null)[][] = [];
      let start = 0;
      // A line feed inside a value is written as \n, so this byte always ends a row; in UTF-8 it is never part of another.
      for (let end = bytes.indexOf(LINE_FEED); end >= 0; end = bytes.indexOf(LINE_FEED, start)) {
        // Line by line: a cell is a slice of the text that it was cut from, and one that is kept keeps all of that alive.
        rows.push(splitRow(bytes.toString("utf8", start, end)));
        start = end + 1;
        if (rows.length < ROWS_AT_ONCE) continue;
        yield rows;
        rows = [];
      }
      rest = Buffer.from(bytes.subarray(start));
      if (rows.length > 0) yield rows;
    }
  } catch (error) {
    throw copyFailure(session, error);
  }
}

/** The classed error of a COPY that broke: where the connection was given up the session knows why, `pg` only that it ended. */
export function copyFailure(session: Session, error: unknown): unknown {
  return session.lost.aborted && codeOf(error) === undefined
    ? session.lost.reason
    : classify(error);
}

/** A backslash that is not that of a NULL. */
const ESCAPED = /\\(?!N(?:\t|$))/;

function splitRow(line: string): (string | null)[] {
  const cells: (string | null)[] = line.split("\t");
  const escaped = ESCAPED.test(line);
  for (let i = 0; i < cells.length; i += 1) {
    const cell = cells[i] ?? null;
    if (cell === "\\N") cells[i] = null;
    else if (escaped && cell !== null) cells[i] = unescape(cell);
  }
  return cells;
}

// https://www.postgresql.org/docs/18/sql-copy.html, "Text Format": what the server itself writes.
const ESCAPES: Readonly<Record<string, string>> = {
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};

function unescape(cell: string): string {
  return cell.replaceAll(/\\(.)/gs, (_, escaped: string) => ESCAPES[escaped] ?? escaped);
}
