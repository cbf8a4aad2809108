// What a slot retains, read once through a temporary copy of it. The slot itself stays where it is, and may be in use meanwhile;
// the copy ends with the session that made it, however that ends.
//
// By SQL, as bursts do it: the same query drains a backlog about twice as fast as any stream (ARCHITECTURE.md), has an exact end, and
// needs no walsender. The copy is moved on behind us only so that the server need not decode from the beginning each time.

import type pg from "pg";
import { NeedsOperator, must } from "../errors.ts";
import { type Lsn, formatLsn, maxLsn, toLsn } from "../lsn.ts";
import type { Batch } from "../change/source.ts";
import { Decoder, type DecoderOptions } from "./decode.ts";
import { codeOf } from "./errors.ts";
import { READ_AT_ONCE_BYTES, firstChangeSql, peek, prepareToPeek, readPlace } from "./peek.ts";
import { Pending } from "./pending.ts";
import { type Session, openSession } from "./session.ts";
import { copySlot } from "./slot.ts";
import { Silence } from "./silence.ts";
import { asUnreadable } from "./tuple.ts";

export interface ReplayOptions extends DecoderOptions {
  readonly clientConfig: pg.ClientConfig;
  /** What is replayed: it is read, and nothing else is done to it. */
  readonly slot: string;
  /** Name of the temporary copy: at most 63 characters. */
  readonly copy: string;
  readonly publication: string;
  /** Another session on the same server, which whoever takes the batches may use; it gives up by itself when nobody answers. */
  readonly beside: Session;
  /** A query that says nothing for so long is asked after. Default: 60 s. */
  readonly silenceMs?: number | undefined;
  /** Closes the connection at once; the server then drops the copy within some seconds. */
  readonly signal: AbortSignal;
}

/** Copies the slot and finds out how far it is to be read: up to the end of the WAL now. Throws classed errors. */
export async function openReplay(options: ReplayOptions): Promise<Replay> {
  const { clientConfig, slot, copy, beside, silenceMs } = options;
  const silent = new AbortController();
  const signal = AbortSignal.any([options.signal, silent.signal]);
  const opened = await openSession(clientConfig, { signal });
  const onSilent = (error: unknown): void => silent.abort(error);
  const silence = new Silence({ beside, pid: opened.pid, onSilent, silenceMs });
  const session: Session = {
    ...opened,
    query: async (sql, values) => silence.answer(opened.query(sql, values)),
  };
  try {
    await prepareToPeek(session);
    await session.query("select pg_catalog.set_config('client_min_messages', 'warning', false)");
    // Before the copy is made, so that what is retained meanwhile is not chased.
    const { end } = await readPlace(session, slot);
    await copySlot(session, { from: slot, to: copy, temporary: true });
    const { confirmed } = await readPlace(session, copy);
    const from = must(confirmed, "the copy of the slot is gone");
    const replay = new Replay(session, options, { from, until: maxLsn(from, end), silence });
    await replay.requirePublication();
    return replay;
  } catch (error) {
    silence[Symbol.dispose]();
    await session[Symbol.asyncDispose]();
    throw error;
  }
}

export class Replay implements AsyncDisposable {
  /** Where the copy lives. */
  readonly session: Session;
  /** Where the slot stood, and the end of the WAL, when it was copied. */
  readonly from: Lsn;
  readonly until: Lsn;
  readonly #options: ReplayOptions;
  readonly #silence: Silence;
  #received: Lsn;

  constructor(
    session: Session,
    options: ReplayOptions,
    {
      from,
      until,
      silence,
    }: { readonly from: Lsn; readonly until: Lsn; readonly silence: Silence },
  ) {
    this.session = session;
    this.from = from;
    this.until = until;
    this.#options = options;
    this.#silence = silence;
    this.#received = from;
  }

  /** Everything up to here was read. */
  get received(): Lsn {
    return this.#received;
  }

  /** All that there is, once. Whoever takes its time lets the server wait. Throws classed errors. */
  async *batches(): AsyncGenerator<Batch> {
    for (let advanceTo: Lsn | null = null; this.#received < this.until; advanceTo = this.#received)
      yield* this.#read(await this.#nextUntil(), advanceTo);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#silence[Symbol.dispose]();
    await this.session[Symbol.asyncDispose]();
  }

  /**
   * Each query decodes anew from where the oldest transaction was open. Where that is far back the query reads as much more that is
   * new, so that all in all twice the WAL is read at most, however long a transaction was open.
   */
  async #nextUntil(): Promise<Lsn> {
    const { confirmed, restart } = await readPlace(this.session, this.#options.copy);
    const again = must(confirmed, "the copy of the slot is gone") - restart;
    const bytes = again > READ_AT_ONCE_BYTES ? again : READ_AT_ONCE_BYTES;
    const until = toLsn(this.#received + bytes);
    return until < this.until ? until : this.until;
  }

  async *#read(until: Lsn, advanceTo: Lsn | null): AsyncGenerator<Batch> {
    const { copy: slot, publication } = this.#options;
    const { session } = this;
    const decoder = new Decoder(this.#options);
    const pending = new Pending(MANY_ROWS);
    const onMessage = (message: Buffer): void => {
      try {
        const tx = decoder.decode(message);
        if (tx) pending.add(tx);
      } catch (error) {
        throw asUnreadable(error);
      }
    };
    const silence = this.#silence;
    silence.waits();
    try {
      for await (const _ of peek({ session, slot, publication, advanceTo, until, onMessage })) {
        if (pending.many) {
          silence.rests();
          yield pending.take(decoder.end);
        }
        silence.waits();
      }
    } catch (error) {
      throw this.#orLate(error);
    } finally {
      silence.rests();
    }
    this.#received = maxLsn(until, decoder.end);
    yield pending.take(this.#received);
  }

  /**
   * The server decodes with the catalog of the time. A change of before the publication fails up to Postgres 17; newer ones pass over
   * it with a warning, which a COPY's reader does not see: so the first change is asked for by a plain query. Throws `NeedsOperator`.
   */
  async requirePublication(): Promise<void> {
    const { copy, publication } = this.#options;
    let late = false;
    const onNotice = ({ code }: { readonly code?: string | undefined }): void => {
      late ||= code === PASSED_OVER;
    };
    const { client } = this.session;
    client.on("notice", onNotice);
    try {
      const { version } = this.session;
      await this.session.query(
        firstChangeSql({ slot: copy, publication, until: this.until }, version),
      );
    } catch (error) {
      throw this.#orLate(error);
    } finally {
      client.off("notice", onNotice);
    }
    if (late) throw this.#latePublication();
  }

  #orLate(error: unknown): unknown {
    return codeOf(error) === NO_PUBLICATION ? this.#latePublication(error) : error;
  }

  #latePublication(cause?: unknown): NeedsOperator {
    const { publication, slot } = this.#options;
    const at = formatLsn(this.from);
    return new NeedsOperator(
      `the publication ${publication} was made after the position of slot ${slot} (${at}), or made again since`,
      {
        reason: "publication_late",
        hint: "Postgres decodes with the catalog of the time, so a slot tells nothing of before its publication: read the tables (--from tables), name the publication of that time with --publication if it is still there, and for the next time create the slot after the publication",
        cause,
      },
    );
  }
}

/** Taken at once, where nearly all that is decoded is news: what it takes in memory, and in one look-up. */
const MANY_ROWS = 500;

/** SQLSTATE of the warning of Postgres 18 ("skipped loading publication"), and of the error of older versions. */
const PASSED_OVER = "55000";
const NO_PUBLICATION = "42704";
