// What a ledger is read with, and what is in it: also in a process that is no test.

import { parseConfig } from "../../../src/config.ts";
import type { Fact } from "../../../src/derive/fact.ts";
import { createLog } from "../../../src/log.ts";
import { LedgerProgress } from "../../../src/pipeline/ledger-progress.ts";
import type { LedgerOptions } from "../../../src/pipeline/temporary-ledger.ts";
import { Store } from "../../../src/store/store.ts";

export function readingOf(
  url: string,
  more: Partial<LedgerOptions> & { readonly publication?: string } = {},
): LedgerOptions {
  const { publication = "firstlight", ...rest } = more;
  return {
    config: parseConfig({
      flags: { databaseUrl: url, publication },
      env: {},
      readFile: () => "",
    }),
    log: createLog({ level: "fatal", format: "json" }),
    progress: new LedgerProgress(),
    signal: new AbortController().signal,
    ...rest,
  };
}

export function* factsIn(path: string): Generator<Fact> {
  using store = Store.open({ path, catalog: [] });
  yield* store.ledger.facts();
}
