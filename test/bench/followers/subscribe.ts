// `subscribe` of the package `postgres`. It makes a temporary slot of its own, so it can only drain what was written while
// it was there: whoever measures it holds the process still meanwhile. It says `began` when it is subscribed, and again when
// it is told to go on (SIGUSR2); it shows rows, not commits, and hides positions: the last row is known by its name.

import postgres from "postgres";
import { Progress } from "./progress.ts";

/** Far behind every target. */
const END = (1n << 63n) as Parameters<Progress["commit"]>[0];

const progress = new Progress();
const { url, publication } = progress.options;
const sql = postgres(url, { publications: publication });
process.on("SIGUSR2", () => progress.began());
await sql.subscribe(
  "update:workspace_agents",
  (row) => {
    if (row?.["name"] === "last") progress.commit(END);
  },
  () => progress.began(),
);
