// Measured figures, in the output of the run: reported, and asserted only where something is promised.

/** Writes one line of figures. */
export function report(what: string, figures: Readonly<Record<string, number | string>>): void {
  const told = Object.entries(figures).map(([name, value]) => `${name} ${value}`);
  process.stdout.write(`${what}: ${told.join(", ")}\n`);
}
