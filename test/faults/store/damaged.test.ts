// Bytes of a store's file that are not what was written: what is read is a store or is named as damaged, and never anything
// else: a crash with a stack trace would be started again for ever without a word of what to do.

import {
  copyFileSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { Random } from "../../../src/demo/coder/random.ts";
import { NeedsOperator } from "../../../src/errors.ts";
import { Store } from "../../../src/store/store.ts";
import { CATALOG } from "../../support/folding.ts";
import {
  attempted,
  connected,
  ended,
  pendingAgent,
  pendingBuild,
  uuid,
} from "../../support/rows.ts";
import { write } from "../../support/storing.ts";

const SEED = Number(process.env["FIRSTLIGHT_TEST_SEED"] ?? 1);
const TRIES = 150;

const root = mkdtempSync(join(tmpdir(), "firstlight-damaged-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** A closed store with some of everything in it. */
function goodStore(path: string): void {
  using store = Store.open({ path, catalog: CATALOG });
  store.load();
  const each = Array.from({ length: 200 }, (_, n) => n);
  write(store, {
    facts: each.flatMap((n) => [
      attempted({ id: uuid(n) }),
      ended({ id: uuid(n + 1_000) }),
      connected({ id: uuid(n + 2_000) }),
    ]),
    put: each.flatMap((n) => [
      pendingBuild({ id: uuid(n + 3_000) }),
      pendingAgent({ id: uuid(n + 4_000) }),
    ]),
  });
  write(store, { sightings: [{ kind: "connected", id: uuid(2_001), gone: true }] });
}

/** Everything that is ever read of a store. */
function readAll(path: string): void {
  using store = Store.open({ path, catalog: CATALOG });
  store.load();
  for (const _ of store.ledger.facts());
  for (const _ of store.ledger.divergent());
  for (const kind of ["build", "agent"] as const) for (const _ of store.ledger.waiting(kind));
  for (let n = 0; n < 5_000; n += 500) {
    store.ledger.state.known("ended", uuid(n));
    store.ledger.state.pendingBuild(uuid(n));
    store.ledger.state.pendingAgent(uuid(n));
  }
}

function outcome(path: string): string {
  try {
    readAll(path);
    return "read";
  } catch (error) {
    expect(error, String((error as Error).stack)).toBeInstanceOf(NeedsOperator);
    return (error as NeedsOperator).reason;
  }
}

test("random bytes anywhere: read, or named as damaged", { timeout: 60_000 }, () => {
  const good = join(root, "good.db");
  goodStore(good);
  const bytes = readFileSync(good);
  const random = new Random(SEED);
  const seen: Record<string, number> = {};
  for (let i = 0; i < TRIES; i += 1) {
    const length = random.pick([1, 4, 64, 512, 4_096]);
    const at = random.between(100, bytes.length - length);
    const bad = Buffer.from(bytes);
    for (let n = 0; n < length; n += 1) bad[at + n] = random.between(0, 255);
    const path = join(root, `bad-${i}.db`);
    writeFileSync(path, bad);
    const found = outcome(path);
    seen[found] = (seen[found] ?? 0) + 1;
  }
  expect(Object.keys(seen).sort()).toEqual(["read", "store_damaged"]);
});

const HARMS: Readonly<Record<string, (path: string) => void>> = {
  removed: (path) => rmSync(path),
  "put aside": (path) => renameSync(path, `${path}.aside`),
  "replaced by an older copy": (path) => {
    renameSync(path, `${path}.aside`);
    copyFileSync(`${path}.aside`, path);
  },
};

test.each(Object.keys(HARMS))(
  "a store whose file is %s while it is open takes no more writes",
  (harm) => {
    const path = join(root, `${harm}.db`);
    goodStore(path);
    using store = Store.open({ path, catalog: CATALOG });
    store.load();
    write(store, { facts: [attempted({ id: uuid(9_000) })] });
    HARMS[harm]?.(path);
    expect(() => write(store, { facts: [attempted({ id: uuid(9_001) })] })).toThrow(
      /was removed or replaced while it was in use/,
    );
  },
);
