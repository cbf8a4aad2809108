// Makes the fixture of this schema version for releases.test.ts: FIRSTLIGHT_WRITE_FIXTURE=1 npx vitest run --project pg test/store/fixture

import { readFileSync, writeFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { gzipSync } from "node:zlib";
import { test } from "vitest";
import { openSimulation } from "../../src/demo/coder/simulation.ts";
import { fullName } from "../../src/metrics/family.ts";
import { schemaVersion } from "../../src/store/file.ts";
import { temporaryFolder } from "../crash/support/folder.ts";
import { createDatabase } from "../support/database.ts";
import { publish, startInProcess } from "../support/firstlight.ts";
import { CATALOG } from "../support/folding.ts";

const FOLDER = new URL("../fixtures/store/", import.meta.url);
const asked = process.env["FIRSTLIGHT_WRITE_FIXTURE"] !== undefined;
const title = `a ledger of schema version ${schemaVersion()}, and what it shows`;

const write = (name: string, content: Buffer | string): void =>
  writeFileSync(new URL(`${name}.gz`, FOLDER), gzipSync(content, { level: 9 }));

test.skipIf(!asked)(asked ? title : `SKIPPED, only on request: ${title}`, async () => {
  await using database = await createDatabase();
  await using folder = await temporaryFolder();
  await publish(await database.client());
  await using simulation = openSimulation({
    url: database.url,
    seed: 3,
    startAt: 1_787_300_000_000_000,
  });
  await simulation.seedDeployment();
  await simulation.run({ workflows: 12 });
  await using serve = await startInProcess({ url: database.url });
  await serve.caughtUp();
  await simulation.run({ workflows: 8 });
  const { text } = await serve.caughtUp();
  const copy = folder.path("copy.db");
  {
    using db = new DatabaseSync(serve.statePath, { readOnly: true });
    db.prepare("vacuum into ?").run(copy);
  }
  const names = CATALOG.map((family) => fullName(family, "coderd_"));
  const lines = text
    .split("\n")
    .filter((line) => names.some((name) => line.startsWith(name)) && !line.includes("_bucket{"));
  write(`version-${schemaVersion()}.db`, readFileSync(copy));
  write(`version-${schemaVersion()}.prom`, `${lines.join("\n")}\n`);
});
