// Jobs that a worker has, as they were last told of. Their heartbeats are dropped because they are known, so what is known must be
// known exactly: a fingerprint finds a job, its id decides.

import type { Uuid } from "./row.ts";

/** Where an id stands in a message. */
export interface IdCell {
  readonly id: number;
  /** 16: the id is in binary form; 36: as Postgres prints it. */
  readonly idLength: number;
}

interface Known {
  readonly binary: Uint8Array;
  readonly text: Uint8Array;
  canceling: boolean;
}

export class Running {
  /** By fingerprint; nearly always one each. */
  readonly #jobs = new Map<number, Known[]>();

  /** `print`: the id's fingerprint. */
  add(print: number, id: Uuid, canceling: boolean): void {
    const text = Buffer.from(id, "latin1");
    const known = this.#find(print, text, { id: 0, idLength: text.length });
    if (known) {
      known.canceling = canceling;
      return;
    }
    const binary = Buffer.from(id.replaceAll("-", ""), "hex");
    const others = this.#jobs.get(print) ?? [];
    this.#jobs.set(print, [...others, { binary, text, canceling }]);
  }

  /** Whether it is known that this job runs, and that it is being canceled or not. Asked of every heartbeat. */
  knows(print: number, bytes: Uint8Array, cell: IdCell, canceling: boolean): boolean {
    return this.#find(print, bytes, cell)?.canceling === canceling;
  }

  delete(print: number, id: Uuid): void {
    const text = Buffer.from(id, "latin1");
    const known = this.#find(print, text, { id: 0, idLength: text.length });
    if (!known) return;
    const others = (this.#jobs.get(print) ?? []).filter((other) => other !== known);
    if (others.length > 0) this.#jobs.set(print, others);
    else this.#jobs.delete(print);
  }

  #find(print: number, bytes: Uint8Array, { id, idLength }: IdCell): Known | undefined {
    const jobs = this.#jobs.get(print);
    if (jobs === undefined) return undefined;
    for (const known of jobs) {
      const own = idLength === known.binary.length ? known.binary : known.text;
      if (equals(own, bytes, id)) return known;
    }
    return undefined;
  }
}

function equals(own: Uint8Array, bytes: Uint8Array, from: number): boolean {
  for (let i = 0; i < own.length; i += 1) if (own[i] !== bytes[from + i]) return false;
  return true;
}
