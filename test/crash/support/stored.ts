// What a store says of itself when nobody has it open.

import { type Lsn, ZERO_LSN } from "../../../src/lsn.ts";
import { Store } from "../../../src/store/store.ts";
import { CATALOG } from "../../support/ledger.ts";

/** The end of what is durable; 0 in an empty store. */
export function storedEnd(path: string): Lsn {
  using store = Store.open({ path, catalog: CATALOG });
  return store.load().position?.end ?? ZERO_LSN;
}
