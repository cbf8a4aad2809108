// What `setup` prints for each service, as far as it can be judged without a server: headings, manifests, lines of pg_hba.conf, words.

import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { UsageError } from "../../src/config.ts";
import { parseSetupFlags } from "../../src/commands/setup.ts";
import { PROVIDERS, cnpgManifest, hbaLines } from "../../src/commands/setup/providers.ts";
import { setupText } from "../../src/commands/setup/text.ts";
import { blocksOf, shownIn } from "../support/blocks.ts";

const PLAN = { publication: "firstlight", role: "firstlight", wholeTables: false };
const NAMES = { role: "firstlight", database: "coder" };
const docs = (name: string) => readFile(new URL(`../../docs/${name}`, import.meta.url), "utf8");

test.each([undefined, ...PROVIDERS])(
  "%s: headed by who runs it where, without a slot",
  (provider) => {
    const text = setupText({ ...PLAN, provider });
    const blocks = blocksOf(text);
    expect([...blocks.keys()]).toEqual([1, 2, 3]);
    expect(blocks.get(1)).toMatch(/^-- 1\. As administrator, on the primary/);
    expect(blocks.get(2)).toMatch(/^-- 2\. As owner of Coder's tables/);
    expect(blocks.get(3)).toMatch(/^-- 3\. As administrator, on the standby/);
    expect(text).not.toContain("pg_create_logical_replication_slot");
    expect(text).not.toMatch(/password '/);
    // Whoever copies from a terminal sees a line as one.
    const comments = text.split("\n").filter((line) => line.startsWith("--"));
    expect(comments.filter((line) => line.length > 145)).toEqual([]);
  },
);

test("a slot is printed last, when asked for, with what it costs", () => {
  const text = setupText({ ...PLAN, slot: "it's" });
  const block = blocksOf(text).get(4) ?? "";
  expect(block).toContain("the server keeps all WAL");
  expect(block).toContain("pg_create_logical_replication_slot('it''s', 'pgoutput');");
  expect(text.endsWith(block)).toBe(true);
});

test("only a server of one's own is told ALTER SYSTEM", () => {
  const told = [undefined, ...PROVIDERS].filter((provider) =>
    /^alter system/m.test(setupText({ ...PLAN, provider })),
  );
  expect(told).toEqual([undefined]);
});

test("the lines of pg_hba.conf: the database by its name, and physical replication refused", () => {
  expect(hbaLines(NAMES)).toEqual([
    "hostssl coder firstlight 10.0.0.0/24 scram-sha-256",
    "host all firstlight all reject",
    "host replication firstlight all reject",
  ]);
  // Elsewhere these are keywords, or two words.
  expect(hbaLines({ role: "re porter", database: "all" })[0]).toBe(
    'hostssl "all" "re porter" 10.0.0.0/24 scram-sha-256',
  );
  const shown = shownIn(blocksOf(setupText({ ...PLAN, database: "coderdb" })).get(1) ?? "");
  expect(shown).toContain("hostssl coderdb firstlight 10.0.0.0/24 scram-sha-256");
});

test("CloudNativePG's manifest is YAML, whatever the names, and the same in print and in the docs", async () => {
  const names = { role: 'a"b: c', database: "coder" };
  expect(parse(cnpgManifest(names).join("\n"))).toEqual({
    spec: {
      managed: {
        roles: [
          {
            name: names.role,
            ensure: "present",
            login: true,
            replication: true,
            passwordSecret: { name: "firstlight-database" },
          },
        ],
      },
      postgresql: {
        parameters: { max_slot_wal_keep_size: "50GB", hot_standby_feedback: "on" },
        pg_hba: hbaLines(names),
      },
    },
  });
  const manifest = cnpgManifest(NAMES).join("\n");
  const printed = blocksOf(setupText({ ...PLAN, provider: "cnpg" })).get(1) ?? "";
  expect(shownIn(printed).join("\n")).toBe(manifest);
  expect(await docs("providers.md")).toContain(`\`\`\`yaml\n${manifest}\n\`\`\``);
});

test("docs/providers.md has every service, docs/security.md the lines of pg_hba.conf", async () => {
  const text = await docs("providers.md");
  for (const provider of PROVIDERS) expect(text).toContain(`| \`${provider}\` |`);
  expect(await docs("security.md")).toContain(hbaLines(NAMES).join("\n  "));
});

test("an unknown service is wrong usage, and the known ones are named", () => {
  expect(parseSetupFlags({ provider: "neon", role: "news" })).toEqual({
    provider: "neon",
    role: "news",
  });
  expect(parseSetupFlags({ provider: undefined, role: undefined })).toEqual({});
  expect(() => parseSetupFlags({ provider: "heroku", role: undefined })).toThrow(UsageError);
  expect(() => parseSetupFlags({ provider: "heroku", role: undefined })).toThrow(
    /must be one of rds, aurora, cloudsql, azure, cnpg, neon/,
  );
});
