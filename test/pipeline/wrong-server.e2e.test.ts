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
import { storedEnd } from "../crash/support/stored.ts";
import { expectLedgerEqualsTables, expectSumsEqualRecount } from "../support/exact.ts";
import {
  type InProcess,
  type StartOptions,
  publish,
  startInProcess,
} from "../support/firstlight.ts";
import { HandMade, JOBS } from "../support/hand-made.ts";
import { readLedger } from "../support/ledger.ts";
import { type Scrape, regressions, sumOf } from "../support/scrape.ts";

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

test("a server put back to an older copy that has since written more WAL than we had seen: its new commits count", async () => {
  await using kept = await folder();
  const statePath = join(kept.path, "firstlight.db");
  const root = join(kept.path, "server");
  const copy = join(kept.path, "copy");
  const start = async (): Promise<Server> => startServer({ dataDir: root });
  const follow = async (server: Server): Promise<InProcess> =>
    startInProcess({ url: server.url(), statePath, slot: "firstlight" });
  {
    await using server = await start();
    await fill(server, 2);
    await using firstlight = await follow(server);
    expect(sumOf(await firstlight.caughtUp(), ATTEMPTS)).toBe(2);
  }
  copyFolder(root, copy);
  {
    await using server = await start();
    await using firstlight = await follow(server);
    await withClient(server, async (client) => {
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
    // Beyond the stored position, which is nothing to go by any more.
    await client.query("select pg_logical_emit_message(true, 'filler', repeat('x', 4000000))");
  });
  await using firstlight = await follow(server);
  const scrape = await firstlight.caughtUp();
  // It once showed 6: the new commits below the stored position were skipped.
  expect(sumOf(scrape, ATTEMPTS)).toBe(7);
  expect(scrape.text).not.toMatch(/^firstlight_gaps_total\{/m);
  // The one that the restore lost stays counted, and is listed.
  expect(scrape.series.get('firstlight_divergent_ids{kind="attempted"}')).toBe(1);
});

const ADOPTED_TABLES = [
  "organizations",
  "users",
  "templates",
  "template_versions",
  "template_version_presets",
  "workspaces",
  "provisioner_jobs",
  "workspace_builds",
  "workspace_resources",
  "workspace_agents",
];

/** What a dump and restore does: another system with the same rows, in other WAL. */
async function dumpAndRestore(from: Server, to: Server): Promise<void> {
  await withClient(from, async (source) => {
    await withClient(to, async (target) => {
      await createCoderSchema(target);
      await publish(target);
      await target.query("set session_replication_role = replica");
      for (const table of ADOPTED_TABLES) {
        const { rows } = await source.query<{ row: unknown }>(
          `select to_jsonb(t) as row from public.${table} as t`,
        );
        const { rows: columns } = await target.query<{ list: string }>(
          `select string_agg(quote_ident(attname), ', ') as list from pg_attribute
           where attrelid = $1::regclass and attnum > 0 and not attisdropped and attgenerated = ''`,
          [`public.${table}`],
        );
        const list = columns[0]?.list ?? "";
        for (const { row } of rows)
          await target.query(
            `insert into public.${table} (${list})
             select ${list} from jsonb_populate_record(null::public.${table}, $1)`,
            [JSON.stringify(row)],
          );
      }
    });
  });
}

async function systemId(server: Server): Promise<string> {
  return withClient(server, async (client) => {
    const { rows } = await client.query<{ id: string }>(
      "select system_identifier::text as id from pg_control_system()",
    );
    return rows[0]?.id ?? "";
  });
}

test("--adopt-system: the same Coder on another system goes on, another Coder is refused, and nothing is relabelled", async () => {
  await using kept = await folder();
  const statePath = join(kept.path, "firstlight.db");
  await using old = await startServer();
  await using restored = await startServer();
  await using stranger = await startServer();
  await fill(old, 5);
  await fill(stranger, 5);
  const target = { statePath, slot: "firstlight" };
  let before: Scrape;
  {
    await using firstlight = await startInProcess({ ...target, url: old.url() });
    before = await firstlight.caughtUp();
  }
  await dumpAndRestore(old, restored);
  await withClient(restored, async (client) => {
    // The restored server's positions lie below those of the old one in places; more rows, and a rename.
    const made = await HandMade.again(client);
    await made.build({ job: JOBS.failed });
    await client.query("update templates set name = 'renamed'");
  });

  const refused = await startInProcess({ ...target, url: restored.url() });
  await expect(refused.ended).rejects.toThrow(/the store belongs to Postgres system/);
  await refused[Symbol.asyncDispose]();

  const adopt = async (server: Server): Promise<StartOptions> => ({
    ...target,
    url: server.url(),
    env: { FIRSTLIGHT_ADOPT_SYSTEM: await systemId(server) },
  });
  const misled = await startInProcess(await adopt(stranger));
  await expect(misled.ended).rejects.toThrow(
    /\d+ of the \d+ newest facts .* are not in this database/,
  );
  await misled[Symbol.asyncDispose]();

  const env = await adopt(restored);
  for (const options of [env, env, { ...target, url: restored.url() }]) {
    await using firstlight = await startInProcess(options);
    const after = await firstlight.caughtUp();
    expect(regressions(before, after)).toEqual([]);
    await withClient(restored, (client) => expectSumsEqualRecount(client, after));
    before = after;
  }
  expect(before.text).toContain('template_name="docker"');
  expect(before.text).not.toMatch(/template_name="renamed".*\} 5/);
  await withClient(restored, (client) => expectLedgerEqualsTables(client, statePath));
  const ends = readLedger(statePath).facts.map(({ end }) => end);
  const position = storedEnd(statePath);
  expect(ends.filter((end) => end > position)).toEqual([]);
});
