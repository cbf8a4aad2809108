// The flags of Node itself, as `npm start` gives them: whatever is measured runs as its users run it.

import { readFileSync } from "node:fs";

const { scripts } = JSON.parse(
  readFileSync(new URL("../../package.json", import.meta.url), "utf8"),
) as { readonly scripts: Readonly<Record<"start", string>> };

export const NODE_FLAGS: readonly string[] = scripts.start.split(" ").slice(1, -1);
