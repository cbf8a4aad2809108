// COPY … TO STDOUT as rows of text cells, streamed: memory holds one network chunk, whatever the size of the table.

import { to as copyTo } from "pg-copy-streams";
import { classify } from "./errors.ts";
import type { Session } from "./session.ts";

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
      // A line feed inside a value is written as \n, so this byte always ends a row; in UTF-8 it is never part of another.
      const end = bytes.lastIndexOf(0x0a);
      if (end < 0) {
        rest = Buffer.from(bytes);
        continue;
      }
      rest = Buffer.from(bytes.subarray(end + 1));
      yield bytes.toString("utf8", 0, end).split("\n").map(splitRow);
    }
  } catch (error) {
    throw classify(error);
  }
}

function splitRow(line: string): (string | null)[] {
  return line.split("\t").map((cell) => {
    if (cell === "\\N") return null;
    return cell.includes("\\") ? unescape(cell) : cell;
  });
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
