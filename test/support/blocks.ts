// The blocks that `setup` and `teardown` print, each headed by who runs it where.

/** Each as a whole, comments included, by the number in its heading. */
export function blocksOf(text: string): ReadonlyMap<number, string> {
  const blocks = text.split(/^(?=-- \d\. )/m).slice(1);
  return new Map(blocks.map((block) => [Number(block[3]), `${block.trimEnd()}\n`]));
}

/** Lines that a comment shows, without its dashes. */
export function shownIn(block: string): string[] {
  return [...block.matchAll(/^-- {6}(.*)$/gm)].map(([, line = ""]) => line);
}
