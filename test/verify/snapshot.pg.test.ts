// The temporary slot behind a snapshot: it lasts no longer than whoever asked for it.

import { spawn } from "node:child_process";
import { test } from "vitest";
import { createDatabase } from "../support/database.ts";
import { uniqueSlot, until } from "../support/firstlight.ts";
import { temporarySlots } from "./support/scene.ts";

test("a process that died while it waited for a snapshot left its slot until the wait was over", async () => {
  await using database = await createDatabase();
  const client = await database.client();
  const writer = await database.client();
  await writer.query("begin");
  await writer.query("select pg_current_xact_id()");
  const slot = uniqueSlot();
  const script = `
    import { openTables } from ${JSON.stringify(new URL("../../src/pipeline/snapshot.ts", import.meta.url).href)};
    await openTables({
      clientConfig: { connectionString: ${JSON.stringify(database.url)} },
      temporarySlot: "${slot}_x",
      log: { warn() {} },
      signal: new AbortController().signal,
    });`;
  const waiting = spawn(process.execPath, ["--input-type=module", "--eval", script], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  try {
    await until("it waits", async () => (await temporarySlots(client, slot)) === 1);
  } finally {
    waiting.kill("SIGKILL");
  }
  await until("its slot is gone", async () => (await temporarySlots(client, slot)) === 0, 10_000);
  await writer.query("commit");
});
