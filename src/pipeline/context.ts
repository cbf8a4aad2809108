// What one attempt at following works with.

import type { Config } from "../config.ts";
import type { Log } from "../log.ts";
import type { Lsn } from "../lsn.ts";
import type { OnUnknown } from "../change/cells.ts";
import type { Totals } from "../metrics/pages.ts";
import type { Vitals } from "../metrics/vitals.ts";
import type { Session } from "../postgres/session.ts";
import type { Answer } from "../postgres/walsender.ts";
import type { Position } from "../store/position.ts";
import type { Store } from "../store/store.ts";
import type { CrashPoint } from "./follow.ts";
import type { Unplaced } from "./resolve.ts";

export interface FollowerOptions {
  readonly config: Pick<
    Config,
    | "database"
    | "slot"
    | "publication"
    | "baseline"
    | "onGap"
    | "adoptSystem"
    | "temporarySlot"
    | "maxSlotLag"
    | "readEveryMs"
  >;
  readonly store: Store;
  /** Shows totals; null hides them. */
  readonly show: (totals: Totals | null) => void;
  readonly vitals: Vitals;
  readonly log: Log;
  readonly onPoint?: ((point: CrashPoint, facts: number) => void) | undefined;
  /** For tests that can not wait so long. */
  readonly timing?: Partial<Timing> | undefined;
}

/** In milliseconds. */
export interface Timing {
  /** The longest pause between two attempts. */
  readonly backOffUpToMs: number;
  /** A server that is not heard for so long counts as gone. */
  readonly silenceMs: number;
  /** How long after its time is up an agent is told overdue; may be negative. */
  readonly graceMs: number;
}

/** `stop`: take no new batch. `abandon`: give up what is under way; comes some seconds after `stop`. */
export interface Signals {
  readonly stop: AbortSignal;
  readonly abandon: AbortSignal;
}

/** What outlives an attempt, beside the store, the vitals and what is shown. */
export interface Lasting extends FollowerOptions {
  readonly onUnknown: OnUnknown;
  readonly unplaced: Unplaced;
  /** Why the last stream could not be read on: WAL keeps the shape that the tables had when it was written. */
  unreadable: string | null;
}

export interface Context extends FollowerOptions {
  readonly lasting: Lasting;
  readonly onUnknown: OnUnknown;
  readonly clientConfig: Awaited<ReturnType<Config["database"]>>;
  /** For everything that is asked beside the stream; all of it is small. */
  readonly session: Session;
  readonly answer: Answer;
  readonly database: string;
  readonly signals: Signals;
}

/** Where following begins. */
export interface Begun {
  readonly position: Position;
  readonly totals: Totals;
  /** Where to start the slot. */
  readonly start: Lsn;
}
