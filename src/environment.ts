// Names of environment variables: a misspelt one must be a mistake, not a setting that silently does nothing.

/** Kubernetes sets these in each pod beside a Service named `firstlight`. */
const SERVICE_LINK =
  /^FIRSTLIGHT_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$/;

/** One mistake for each variable that looks like ours and is not among the known ones. */
export function unknownVariables(
  env: Readonly<Record<string, string | undefined>>,
  known: readonly string[],
): string[] {
  return Object.keys(env)
    .filter(
      (name) => name.startsWith("FIRSTLIGHT_") && !known.includes(name) && !SERVICE_LINK.test(name),
    )
    .map((name) => {
      const nearest = known.map((candidate) => ({
        candidate,
        distance: distance(name, candidate),
      }));
      const best = nearest.sort((a, b) => a.distance - b.distance)[0];
      return `${name}: is not known${best && best.distance <= 3 ? `; did you mean ${best.candidate}?` : ""}`;
    });
}

/** Levenshtein's distance between two short names. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (const [j, other] of [...b].entries()) {
      const replaced = (row[j] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
