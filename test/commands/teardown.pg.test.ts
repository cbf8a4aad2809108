// `teardown --apply` takes away all that `setup --apply` and `serve` made, and nothing else: the catalogs are compared. Whoever may not
// do all of it is told the rest, and while Firstlight runs nothing is touched.

import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { setup } from "../../src/commands/setup.ts";
import { teardown, teardownText } from "../../src/commands/teardown.ts";
import { parseDatabaseUrl } from "../../src/postgres/url.ts";
import { blocksOf } from "../support/blocks.ts";
import { catalogOf } from "../support/catalog.ts";
import { type TestDatabase, createDatabase } from "../support/database.ts";
import { startInProcess, uniqueSlot } from "../support/firstlight.ts";
import { valueOf } from "../support/scrape.ts";

const signal = new AbortController().signal;

/** A database whose tables Coder's own role owns, and a role that follows. No role is a superuser's. */
async function openSite() {
  await using stack = new AsyncDisposableStack();
  const database = stack.use(await createDatabase());
  const admin = await database.client();
  const owner = `${database.name}_owner`;
  const follower = `${database.name}_follower`;
  for (const [name, attributes] of [
    [owner, "login"],
    [follower, "login replication"],
  ]) {
    await admin.query(`create role ${name} with ${attributes}`);
    stack.defer(async () => void (await admin.query(`drop owned by ${name}; drop role ${name}`)));
  }
  await admin.query(`alter database ${database.name} owner to ${owner}`);
  const { rows } = await admin.query<{ name: string }>(
    "select oid::regclass::text as name from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'",
  );
  for (const { name } of rows) await admin.query(`alter table ${name} owner to ${owner}`);
  const owned = stack.move();
  return {
    database,
    admin,
    owner,
    follower,
    slot: uniqueSlot(),
    // The tables go with the database, and roles that own something can not.
    async [Symbol.asyncDispose]() {
      await admin.query(`alter database ${database.name} owner to postgres`);
      await admin.query(`reassign owned by ${owner} to postgres`);
      await owned.disposeAsync();
    },
  };
}
type Site = Awaited<ReturnType<typeof openSite>>;

function configFor(database: TestDatabase, { user, slot }: { user?: string; slot: string }) {
  const clientConfig = parseDatabaseUrl(user === undefined ? database.url : database.urlAs(user));
  return {
    databaseConfigured: true,
    database: async () => clientConfig,
    publication: "firstlight",
    slot,
  };
}

async function setUp({ database, owner, follower, slot }: Site, withSlot = false): Promise<void> {
  const options = { apply: true, role: follower, out: () => undefined, signal };
  const config = configFor(database, { slot, user: owner });
  await setup({ ...options, config });
  if (withSlot) await setup({ ...options, config: configFor(database, { slot }), withSlot });
}

/** As this user (default: a superuser); gives what was printed. */
async function tearDown({ database, slot, follower }: Site, user?: string, role = follower) {
  const printed: string[] = [];
  const config = configFor(database, { slot, ...(user === undefined ? {} : { user }) });
  await teardown({ config, apply: true, role, out: (text) => void printed.push(text), signal });
  return printed.join("");
}

test("sql/teardown.sql is what `teardown` prints, in blocks for three", async () => {
  const printed: string[] = [];
  const config = {
    database: () => Promise.reject(new Error("nothing is asked")),
    publication: "firstlight",
    slot: "firstlight",
  };
  await teardown({ config, apply: false, out: (text) => void printed.push(text), signal });
  const file = new URL("../../sql/teardown.sql", import.meta.url);
  expect(printed.join("")).toBe(await readFile(file, "utf8"));
  expect([...blocksOf(printed.join("")).keys()]).toEqual([1, 2, 3]);
  // It would drop the tables of a role that is named by mistake.
  expect(printed.join("")).not.toMatch(/^drop owned/m);
});

test("set up, followed and torn down, a database is as it was", async () => {
  await using site = await openSite();
  const before = await catalogOf(site.admin);
  await setUp(site, true);
  const between = await catalogOf(site.admin);
  expect(between).toMatchObject({ publications: ["firstlight"], published: 3, slots: [site.slot] });
  expect(between).not.toEqual({
    ...before,
    ...pick(between, ["publications", "published", "slots"]),
  });
  {
    await using firstlight = await startInProcess({
      url: site.database.urlAs(site.follower),
      slot: site.slot,
    });
    await firstlight.caughtUp();
  }
  const said = await tearDown(site);
  expect(said).toBe(
    `dropped slot ${site.slot}\ndropped publication firstlight\nrevoked what role ${site.follower} was granted\n` +
      `still to be done by an administrator:\n${blocksOf(printedFor(site)).get(3)}`,
  );
  expect(await catalogOf(site.admin)).toEqual(before);
  // The role has nothing left that would keep it.
  await site.admin.query(`drop role ${site.follower}; create role ${site.follower}`);
  expect(await tearDown(site)).toContain(`there is no slot ${site.slot} on this server\n`);
  expect(await catalogOf(site.admin)).toEqual(before);
});

test("the blocks as printed, by whom they are for, leave nothing either", async () => {
  await using site = await openSite();
  const before = await catalogOf(site.admin);
  await setUp(site, true);
  const blocks = blocksOf(printedFor(site));
  for (const [number, user] of [site.follower, site.owner].entries()) {
    await site.admin.query(`set session authorization ${user}`);
    await site.admin.query(blocks.get(number + 1) ?? "");
    await site.admin.query("reset session authorization");
  }
  await site.admin.query(blocks.get(3) ?? "");
  expect(await catalogOf(site.admin)).toEqual(before);
  await site.admin.query(`create role ${site.follower}`);
});

test("who follows drops the slot and is told what the owner has to do; the owner does that", async () => {
  await using site = await openSite();
  const before = await catalogOf(site.admin);
  await setUp(site, true);
  const blocks = blocksOf(printedFor(site));
  await expect(tearDown(site, site.follower)).rejects.toMatchObject({
    name: "NeedsOperator",
    reason: "privileges",
    hint: blocks.get(2),
  });
  expect(await catalogOf(site.admin)).toMatchObject({ slots: null, publications: ["firstlight"] });
  expect(await tearDown(site, site.owner)).toContain("dropped publication firstlight\nrevoked");
  expect(await catalogOf(site.admin)).toEqual(before);
});

test("the owner may not drop the slot, and is told who may", async () => {
  await using site = await openSite();
  await setUp(site, true);
  await expect(tearDown(site, site.owner)).rejects.toMatchObject({
    reason: "privileges",
    hint: blocksOf(printedFor(site)).get(1),
  });
  expect(await catalogOf(site.admin)).toMatchObject({ slots: [site.slot], publications: null });
});

// In bursts nobody holds the slot itself for most of the time.
test.each(["60s", "0"])("while Firstlight reads every %s nothing is removed", async (every) => {
  await using site = await openSite();
  await setUp(site);
  await using firstlight = await startInProcess({
    url: site.database.urlAs(site.follower),
    slot: site.slot,
    env: { FIRSTLIGHT_READ_EVERY: every },
  });
  await firstlight.caughtUp();
  const before = await catalogOf(site.admin);
  await expect(tearDown(site)).rejects.toMatchObject({
    name: "NeedsOperator",
    reason: "slot_in_use",
    hint: expect.stringContaining("stop Firstlight first"),
  });
  expect(await catalogOf(site.admin)).toEqual(before);
  expect(valueOf(await firstlight.scrape(), "firstlight_reconnects_total")).toBe(0);
});

test("nothing is taken from whoever owns Coder's tables, nor from a superuser", async () => {
  await using site = await openSite();
  const before = await catalogOf(site.admin);
  for (const role of [site.owner, "postgres"]) {
    expect(await tearDown(site, undefined, role)).toContain("nothing is taken from it\n");
    expect(await catalogOf(site.admin)).toEqual(before);
  }
});

test("somebody else's slot is left alone, and so is all the rest", async () => {
  await using site = await openSite();
  await setUp(site);
  await site.admin.query("select pg_create_logical_replication_slot($1, 'test_decoding')", [
    site.slot,
  ]);
  const before = await catalogOf(site.admin);
  await expect(tearDown(site)).rejects.toMatchObject({ reason: "slot_foreign" });
  expect(await catalogOf(site.admin)).toEqual(before);
});

test("a role that is not there is said, and the rest is done", async () => {
  await using site = await openSite();
  await setUp(site);
  const said = await tearDown(site, undefined, "nobody_yet");
  expect(said).toContain("there is no role nobody_yet; name another one with --role\n");
  expect(said).toContain("dropped publication firstlight\n");
});

test("a slot is created only when asked, and only by who may", async () => {
  await using site = await openSite();
  await setUp(site);
  expect(await catalogOf(site.admin)).toMatchObject({ slots: null });
  const printed: string[] = [];
  const options = { apply: true, withSlot: true, role: site.follower, signal };
  const out = (text: string) => void printed.push(text);
  const by = (user: string) => configFor(site.database, { slot: site.slot, user });
  await expect(setup({ ...options, config: by(site.owner), out })).rejects.toMatchObject({
    reason: "privileges",
    hint: expect.stringContaining("-- 4. As the role that follows"),
  });
  await setup({ ...options, config: by(site.follower), out });
  await setup({ ...options, config: by(site.follower), out });
  expect(printed.join("")).toContain(
    `created slot ${site.slot}: the server keeps all WAL from here on until \`serve\` reads it\n`,
  );
  expect(printed.at(-1)).toBe(`slot ${site.slot} is there already\n`);
  expect(await catalogOf(site.admin)).toMatchObject({ slots: [site.slot] });
});

const printedFor = ({ slot, follower }: Site): string =>
  teardownText({ publication: "firstlight", slot, role: follower });

function pick(record: Readonly<Record<string, unknown>>, keys: readonly string[]) {
  return Object.fromEntries(keys.map((key) => [key, record[key]]));
}
