// One line on a person's terminal, over and over; nothing where nobody watches.

import type { Progress } from "../../pipeline/backfill.ts";
import { count } from "./report.ts";

const EVERY_MS = 250;
/** To the beginning of the line, and clear it. */
export const AGAIN = "\r\u001B[K";

export interface TerminalProgress extends Progress, Disposable {
  /** How many samples there will be, about: from here on it writes. */
  expect(samples: number): void;
}

/** `facts`: how many there are. Disposing clears the line. */
export function terminalProgress(
  terminal: ((text: string) => void) | null,
  facts: number,
): TerminalProgress {
  let expected = 0;
  let began = performance.now();
  /** When the line on the terminal was said. */
  let said: number | null = null;
  const say = (text: () => string): void => {
    const now = performance.now();
    if (!terminal || (said !== null && now - said < EVERY_MS)) return;
    said = now;
    terminal(AGAIN + text());
  };
  const seconds = (): number => Math.max(performance.now() - began, 1) / 1000;
  const clear = (): void => {
    if (said !== null) terminal?.(AGAIN);
    said = null;
  };
  return {
    surveyed(done) {
      say(() => `reading: ${rest(done, facts, seconds())} facts`);
    },
    expect(samples) {
      clear();
      expected = samples;
      began = performance.now();
    },
    wrote(ofFacts, samples) {
      say(() => `writing: ${count(ofFacts)} facts, ${rest(samples, expected, seconds())} samples`);
    },
    [Symbol.dispose]: clear,
  };
}

/** `1,000 of 5,000 (500/s, 8 s left)` */
function rest(done: number, all: number, seconds: number): string {
  const rate = done / seconds;
  const left = rate > 0 ? Math.max(0, Math.ceil((all - done) / rate)) : 0;
  return `${count(done)} of ${count(all)} (${count(Math.round(rate))}/s, ${left} s left)`;
}
