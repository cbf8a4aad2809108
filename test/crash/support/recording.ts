// A recorded stream: the payloads of a slot's messages as the server would send them, and a source that plays them to the
// live loop.

import type pg from "pg";
import { type Lsn, formatLsn } from "../../../src/lsn.ts";
import { newCounts } from "../../../src/change/counts.ts";
import type { Tx } from "../../../src/change/row.ts";
import type { Batch, Source } from "../../../src/change/source.ts";
import type { Waiting } from "../../../src/change/waiting.ts";
import { Decoder } from "../../../src/postgres/decode.ts";
import { outputOptions } from "../../../src/postgres/publication.ts";
import { POSTGRES } from "../../matrix/binaries.ts";

/** What the slot has, from its position on, up to an LSN if one is given. The slot keeps it. `binary`: the form of values. */
export async function record(
  client: pg.ClientBase,
  slot: string,
  { upTo = null, binary = true }: { readonly upTo?: Lsn | null; readonly binary?: boolean } = {},
): Promise<readonly Buffer[]> {
  const options = outputOptions("firstlight", binary ? POSTGRES * 10_000 : 0);
  const { rows } = await client.query<{ data: Buffer }>(
    `select data from pg_logical_slot_peek_binary_changes($1, $2::pg_lsn, null, variadic $3::text[])`,
    [slot, upTo && formatLsn(upTo), Object.entries(options).flat()],
  );
  return rows.map(({ data }) => data);
}

export interface Playing {
  readonly messages: readonly Buffer[];
  readonly waiting: Waiting;
  /** Transactions with news per batch, as a consumer that is slower than the server gets them. Default 1. */
  readonly perBatch?: number;
  /** Called when a message has been handled, with its batch's effects if it completed one. */
  readonly onMessage?: (index: number) => void;
}

/** Ends after the last message. */
export function play({ messages, waiting, perBatch = 1, onMessage }: Playing): Source {
  const decoder = new Decoder({
    waiting,
    counts: newCounts(),
    onUnknown: (column, value) => {
      throw new Error(`unknown ${column}: ${value}`);
    },
  });
  return {
    async *batches(): AsyncGenerator<Batch> {
      let txs: Tx[] = [];
      for (const [index, message] of messages.entries()) {
        const tx = decoder.decode(message);
        if (tx) txs.push(tx);
        const last = index === messages.length - 1;
        if (txs.length === perBatch || last) {
          yield { txs, end: decoder.end, readUpTo: null };
          txs = [];
        }
        onMessage?.(index);
      }
    },
    durable() {},
    async [Symbol.asyncDispose]() {},
  };
}
