// One window, three sources: the same bytes, and the same once more.

import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { backfillFrom } from "../../src/commands/backfill.ts";
import { parseBackfill } from "../../src/commands/backfill/flags.ts";
import { formatLsn } from "../../src/lsn.ts";
import { ledgerFromSlot } from "../../src/pipeline/ledger-from-slot.ts";
import { ledgerFromTables } from "../../src/pipeline/ledger-from-tables.ts";
import { openHistory } from "../../src/store/history.ts";
import { temporaryFolder } from "../crash/support/folder.ts";
import { startInProcess } from "../support/firstlight.ts";
import { readingOf } from "./support/reading.ts";
import { openScene } from "./support/scene.ts";

/** Nothing of it renames, rewrites or deletes rows. A claim is among it. */
const WORKFLOWS = [
  "createRegular",
  "createFails",
  "claim",
  "restart",
  "fillPool",
  "publishVersion",
  "cancelRunning",
  "createRegular",
] as const;
const WINDOW = { since: "2026-08-21T08:00:00Z", until: "2026-08-21T14:00:00Z", step: "60s" };
const FORMATS = ["openmetrics", "victoriametrics"] as const;

test("store, tables and slot: the same window is the same bytes, twice in a row, too", async () => {
  await using scene = await openScene({ seed: 3, history: 0 });
  const { database, parked, simulation } = scene;
  const reading = readingOf(database.url);
  await using folder = await temporaryFolder();
  const statePath = folder.path("firstlight.db");
  {
    await using firstlight = await startInProcess({ url: database.url, statePath });
    await firstlight.caughtUp();
    for (const name of WORKFLOWS) await simulation.workflows[name]();
    await firstlight.caughtUp();
  }

  const write = async (out: string, ledger: string, format: string): Promise<unknown> => {
    const raw = { ...WINDOW, out, format, databaseUrl: database.url };
    const now = Date.now() * 1000;
    const { config, flags } = parseBackfill(raw, { env: {}, readFile: () => "", now });
    using history = openHistory(ledger);
    const source = { from: "a test", system: history.systemId, lsn: formatLsn(history.end) };
    await backfillFrom(
      { ...history, source },
      { ...reading, config, flags, now, out: () => undefined, terminal: null },
    );
    const names = (await readdir(out)).filter((name) => name !== "manifest.json").sort();
    expect(names.length).toBeGreaterThan(0);
    const texts = await Promise.all(names.map(async (name) => readFile(join(out, name), "utf8")));
    return names.map((name, i) => [name, texts[i]]);
  };

  await using tables = await ledgerFromTables(reading);
  await using slot = await ledgerFromSlot({ ...reading, slot: parked });
  for (const format of FORMATS) {
    const fromStore = await write(folder.path(`store-${format}`), statePath, format);
    expect(await write(folder.path(`again-${format}`), statePath, format)).toEqual(fromStore);
    expect(await write(folder.path(`tables-${format}`), tables.path, format)).toEqual(fromStore);
    expect(await write(folder.path(`slot-${format}`), slot.path, format)).toEqual(fromStore);
  }
});
