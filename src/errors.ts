// Errors are classed by what must happen next, not by where they arose:
// Transient → retry with back-off; NeedsOperator → somebody must act, the hint says what;
// anything else is a bug and ends the process.

/** Something outside failed in a way that time may heal. The stream is broken, memory discarded, and it is tried again. */
export class Transient extends Error {
  override readonly name: string = "Transient";
  /** A short, stable word for logs and metric labels, e.g. `connection_lost`. */
  readonly reason: string;
  constructor(message: string, options: { reason: string; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.reason = options.reason;
  }
}

/** Retrying alone will not help. `hint` tells the operator what to do, as SQL, a flag or a setting. */
export class NeedsOperator extends Error {
  override readonly name: string = "NeedsOperator";
  readonly reason: string;
  readonly hint: string;
  constructor(message: string, options: { reason: string; hint: string; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.reason = options.reason;
    this.hint = options.hint;
  }
}

/** Compile-time proof that a closed union was handled; throws if data broke the proof. */
export function unreachable(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`);
}

/** Narrows away `undefined` and `null` where the surrounding code guarantees a value. */
export function must<T>(value: T | undefined | null, message: string): T {
  if (value === undefined || value === null) throw new Error(message);
  return value;
}

/** The code of an error as Node gives them (`ENOENT`, `ERR_…`); its name where it has none. */
export function errorCode(error: unknown): string {
  if (!(error instanceof Error)) return "unknown";
  return "code" in error && typeof error.code === "string" ? error.code : error.name;
}
