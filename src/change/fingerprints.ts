// A multiset of small integers, for one question asked of every heartbeat: is it there? One read of memory answers, mostly,
// where a Map of half a million entries takes several that miss the processor's caches.
//
// Open addressing with linear probing; at most half full. A value that is added twice is there twice.

const SMALLEST = 1_024;

export class Fingerprints {
  /** Each value plus one; 0 is free. A power of two long. */
  #cells = new Int32Array(SMALLEST);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** `print`: 0 to 2³⁰ - 1, spread evenly: its low bits choose the place. */
  has(print: number): boolean {
    return this.#find(print) >= 0;
  }

  add(print: number): void {
    if ((this.#size + 1) * 2 > this.#cells.length) this.#grow();
    this.#put(print + 1);
    this.#size += 1;
  }

  /** How often it is there. */
  count(print: number): number {
    const cells = this.#cells;
    const mask = cells.length - 1;
    let count = 0;
    for (let at = print & mask; cells[at] !== 0; at = (at + 1) & mask)
      if (cells[at] === print + 1) count += 1;
    return count;
  }

  /** Takes one of them away; false where there is none. */
  delete(print: number): boolean {
    let hole = this.#find(print);
    if (hole < 0) return false;
    const cells = this.#cells;
    const mask = cells.length - 1;
    // What was pushed past this place by it moves up, so that no search ends early.
    for (let at = (hole + 1) & mask; cells[at] !== 0; at = (at + 1) & mask) {
      const home = ((cells[at] ?? 0) - 1) & mask;
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      cells[hole] = cells[at] ?? 0;
      hole = at;
    }
    cells[hole] = 0;
    this.#size -= 1;
    return true;
  }

  /** Where it is; negative where it is not. */
  #find(print: number): number {
    const cells = this.#cells;
    const mask = cells.length - 1;
    for (let at = print & mask; cells[at] !== 0; at = (at + 1) & mask)
      if (cells[at] === print + 1) return at;
    return -1;
  }

  #put(value: number): void {
    const cells = this.#cells;
    const mask = cells.length - 1;
    let at = (value - 1) & mask;
    while (cells[at] !== 0) at = (at + 1) & mask;
    cells[at] = value;
  }

  #grow(): void {
    const before = this.#cells;
    this.#cells = new Int32Array(before.length * 2);
    for (const value of before) if (value !== 0) this.#put(value);
  }
}
