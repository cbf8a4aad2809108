// Servers that are not what the store remembers. Each of these once made totals wrong, or would have, without a word:
// another system's tables merged into the ledger; a restored server whose new commits were skipped for ever.

import { execFileSync } from "node:child_process";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { expect, test } from "vitest";
import { createCoderSchema } from "../../src/demo/coder/schema.ts";
import { type Server, startServer } from "../../src/demo/server.ts";
import { publish, startInProcess } from "../support/firstlight.ts";
import { HandMade, JOBS } from "../support/hand-made.ts";
import { sumOf } from "../support/scrape.ts";

const ATTEMPTS = "coderd_workspace_creation_attempts_total";

async function withClient<T>(server: Server, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(server.url());
  client.on("error", () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** Coder's schema, the publication, and this many first builds. */
async function fill(server: Server, builds: number): Promise<void> {
  await withClient(server, async (client) => {
    await createCoderSchema(client);
    await publish(client);
    const made = await HandMade.on(client);
    for (let i = 0; i < builds; i += 1) await made.build({ job: JOBS.succeeded });
  });
}

/** With owners and modes: as root the server runs as another user. */
function copyFolder(from: string, to: string): void {
  execFileSync("cp", ["-a", from, to]);
}

async function folder(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), "firstlight-wrong-server-"));
  await chmod(path, 0o755);
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

test("another system is refused before its tables are read, with both ids", async () => {
  await using kept = await folder();
  const statePath = join(kept.path, "firstlight.db");
  await using first = await startServer();
  await using second = await startServer();
  await fill(first, 3);
  await fill(second, 5);
  {
    await using firstlight = await startInProcess({
      url: first.url(),
      statePath,
      slot: "firstlight",
    });
    expect(sumOf(await firstlight.caughtUp(), ATTEMPTS)).toBe(3);
  }
  const misled = await startInProcess({ url: second.url(), statePath, slot: "firstlight" });
  await expect(misled.ended).rejects.toThrow(
    /the store belongs to Postgres system \d+, but this is system \d+/,
  );
  await misled[Symbol.asyncDispose]();
  const slots = await withClient(
    second,
    async (client) => (await client.query("select from pg_replication_slots")).rowCount,
  );
  expect(slots).toBe(0);
  await using firstlight = await startInProcess({
    url: first.url(),
    statePath,
    slot: "firstlight",
  });
  expect(sumOf(await firstlight.caughtUp(), ATTEMPTS)).toBe(3);
});

test("a server restored from an older copy is a gap: its new commits count, and nothing falls", async () => {
  await using kept = await folder();
  const statePath = join(kept.path, "firstlight.db");
  const root = join(kept.path, "server");
  const copy = join(kept.path, "copy");
  const start = async (): Promise<Server> => startServer({ dataDir: root });
  {
    await using server = await start();
    await fill(server, 2);
    await using firstlight = await startInProcess({
      url: server.url(),
      statePath,
      slot: "firstlight",
    });
    expect(sumOf(await firstlight.caughtUp(), ATTEMPTS)).toBe(2);
  }
  copyFolder(root, copy);
  {
    await using server = await start();
    await using firstlight = await startInProcess({
      url: server.url(),
      statePath,
      slot: "firstlight",
    });
    await withClient(server, async (client) => {
      // Enough WAL that the restored server can not reach this position by itself.
      await client.query("select pg_logical_emit_message(true, 'filler', repeat('x', 4000000))");
      const made = await HandMade.again(client);
      await made.build({ job: JOBS.succeeded });
    });
    expect(sumOf(await firstlight.caughtUp(), ATTEMPTS)).toBe(3);
  }
  await rm(root, { recursive: true });
  copyFolder(copy, root);
  await using server = await start();
  await withClient(server, async (client) => {
    const made = await HandMade.again(client);
    for (let i = 0; i < 4; i += 1) await made.build({ job: JOBS.succeeded });
  });
  await using firstlight = await startInProcess({
    url: server.url(),
    statePath,
    slot: "firstlight",
  });
  const scrape = await firstlight.caughtUp();
  // Three were counted before; the one that the restore lost stays counted, and the four new ones are added.
  expect(sumOf(scrape, ATTEMPTS)).toBe(7);
  expect(scrape.series.get('firstlight_gaps_total{reason="server_behind"}')).toBe(1);
});
