import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { setup } from "../../src/commands/setup.ts";
import { setupText } from "../../src/commands/setup/text.ts";

const DEFAULTS = { publication: "firstlight", role: "firstlight", wholeTables: false };

const sqlFile = (name: string) => readFile(new URL(`../../sql/${name}`, import.meta.url), "utf8");

test("sql/setup.sql is what `setup` prints", async () => {
  expect(await sqlFile("setup.sql")).toBe(setupText(DEFAULTS));
});

test("what must stay secret is neither published nor granted", async () => {
  const text = await sqlFile("setup.sql");
  for (const secret of [
    "auth_token",
    "provisioner_state",
    "hashed_password",
    "email",
    "environment_variables",
  ]) {
    expect(text).not.toMatch(new RegExp(`[(,] ?${secret}\\b`));
  }
  // Of a job's input one key is read where it is; the whole of it is never published.
  const [published = "", granted = ""] = text.split("grant usage");
  expect(published).not.toMatch(/[(,] ?input\b/);
  expect(granted.match(/[(,] ?input\b/g)).toHaveLength(1);
});

test("the names are those of the configuration, and a password is never printed", async () => {
  const printed: string[] = [];
  await setup({
    config: {
      databaseConfigured: true,
      database: async () => ({ user: "re porter", password: "s3cret" }),
      publication: "news",
      slot: "firstlight",
    },
    apply: false,
    out: (text) => void printed.push(text),
    signal: new AbortController().signal,
  });
  const text = printed.join("");
  expect(text).toContain('create publication "news"');
  expect(text).toContain('create role "re porter" with login replication;');
  expect(text).not.toContain("s3cret");
});

test("whole tables are printed with a warning", () => {
  const text = setupText({ ...DEFAULTS, wholeTables: true });
  expect(text).toContain('  "public".workspace_agents\n');
  expect(text).toContain("every column leaves the server");
});
