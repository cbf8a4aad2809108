// The commands that `backfill` prints, run as a person would paste them.

import { execFileSync } from "node:child_process";

/** Runs the indented lines with these words replaced. Throws where one fails. */
export function paste(printed: string, words: Readonly<Record<string, string>>): string {
  const lines = printed.split("\n").filter((line) => line.startsWith("  "));
  let script = lines.join("\n");
  for (const [word, by] of Object.entries(words)) {
    if (!script.includes(word)) throw new Error(`there is no ${word} in\n${script}`);
    script = script.replaceAll(word, by);
  }
  return execFileSync("bash", ["-e", "-o", "pipefail", "-c", script], {
    encoding: "utf8",
    maxBuffer: 1 << 26,
    stdio: ["ignore", "pipe", "inherit"],
  });
}
