// The table that is printed, a row as soon as it is known.

export interface Row {
  readonly event: string;
  readonly coderd: string;
  readonly firstlight: string;
  readonly recount: string;
}

const WIDTHS = { event: 52, coderd: 18, firstlight: 14, recount: 10 } as const;

export const HEAD: Row = {
  event: "workspace_creation_total after …",
  coderd: "coderd's query",
  firstlight: "Firstlight",
  recount: "recount",
};

/** One line, columns of numbers to the right. */
export function lineOf({ event, coderd, firstlight, recount }: Row): string {
  return [
    event.padEnd(WIDTHS.event),
    coderd.padStart(WIDTHS.coderd),
    firstlight.padStart(WIDTHS.firstlight),
    recount.padStart(WIDTHS.recount),
  ].join("");
}

/** `75`, or `75 → 54` where it fell. */
export function moved(before: number | undefined, now: number | undefined): string {
  if (now === undefined) return before === undefined ? "–" : `${before} → gone`;
  return before !== undefined && now < before ? `${before} → ${now}` : String(now);
}
