// A ledger that any earlier Firstlight wrote opens in this one and shows the same totals; a newer one is refused, and stays as it is.
// What the older ones did not record is filled in from the tables: upgrade.pg.test.ts.

import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { schemaVersion } from "../../src/store/file.ts";
import { refold } from "../../src/store/load.ts";
import { Store } from "../../src/store/store.ts";
import { temporaryFolder } from "../crash/support/folder.ts";
import { outsideEnvironment } from "../support/firstlight.ts";
import { CATALOG, page } from "../support/folding.ts";
import { type Scrape, parseScrape } from "../support/scrape.ts";

const MAIN = fileURLToPath(new URL("../../src/main.ts", import.meta.url));
const VERSIONS = Array.from({ length: schemaVersion() }, (_, i) => i + 1);

const fixture = (name: string): Buffer =>
  gunzipSync(readFileSync(new URL(`../fixtures/store/${name}.gz`, import.meta.url)));

/** What that version showed, without buckets. */
const shownBy = (version: number): Scrape =>
  parseScrape(fixture(`version-${version}.prom`).toString("utf8"));

function versionOf(path: string): unknown {
  using db = new DatabaseSync(path, { readOnly: true });
  return db.prepare("pragma user_version").get()?.["user_version"];
}

test.each(VERSIONS)(
  "a ledger of schema version %i opens, and shows each total as it was",
  async (version) => {
    await using folder = await temporaryFolder();
    const path = folder.path("firstlight.db");
    writeFileSync(path, fixture(`version-${version}.db`));
    expect(versionOf(path)).toBe(version);
    const before = shownBy(version).series;
    expect(before.size).toBeGreaterThan(100);
    // The second time it has been brought up to date already.
    for (const _ of ["first", "second"]) {
      using store = Store.open({ path, catalog: CATALOG });
      const { position, totals } = store.load();
      expect(position).not.toBeNull();
      // The series as they were stored, and as its facts make them.
      for (const shown of [totals, refold(CATALOG, store.ledger).publish()]) {
        const now = parseScrape(page(shown, "coderd_")).series;
        const same = [...before.keys()].map((name) => [name, now.get(name)] as const);
        expect(Object.fromEntries(same)).toEqual(Object.fromEntries(before));
      }
      // Where something is missing it is said, and then nothing is shown before it has been filled in.
      expect(store.ledger.complete).toBe(version === schemaVersion());
    }
    expect(versionOf(path)).toBe(schemaVersion());
  },
);

test(
  "serve refuses a ledger of a newer version, says so with exit code 3, and leaves it as it is",
  { timeout: 60_000 },
  async () => {
    await using folder = await temporaryFolder();
    const path = folder.path("firstlight.db");
    writeFileSync(path, fixture(`version-${schemaVersion()}.db`));
    {
      using db = new DatabaseSync(path);
      db.exec(`pragma user_version = ${schemaVersion() + 1}`);
    }
    const before = readFileSync(path);
    const { status, stderr } = spawnSync(process.execPath, [MAIN, "serve"], {
      encoding: "utf8",
      env: {
        ...outsideEnvironment(),
        FIRSTLIGHT_DATABASE_URL: "postgres://nobody@127.0.0.1:1/coder",
        FIRSTLIGHT_STATE: path,
        FIRSTLIGHT_LISTEN: "127.0.0.1:0",
      },
    });
    expect(status).toBe(3);
    expect(stderr).toContain(
      `was written by a newer Firstlight (schema ${schemaVersion() + 1}, this one knows ${schemaVersion()})`,
    );
    expect(stderr).toContain("run that version again, or restore the copy made before the upgrade");
    expect(readFileSync(path).equals(before)).toBe(true);
  },
);
