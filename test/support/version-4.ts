// A store as version 4 would have left it, for what is filled in of it.

import { readdirSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { must } from "../../src/errors.ts";

/** All that sql/store/000005.sql and those who write by it have added. */
const UNDONE = `
  delete from fact where kind in (6, 9, 10);
  delete from entity where kind = 5;
  update fact set workspace = null where kind = 3;
  update entity set workspace = null where kind = 2;
  drop index deleted_at;
  drop index workspace_name;
  drop table retired;
  drop table gone;
  drop index entity_due;
  alter table entity drop column timeout;
  alter table entity drop column due;
  delete from series;
  delete from meta where key in ('retired_up_to', 'catalog');
  pragma user_version = 4`;

/** Nobody may have it open. Throws where there is a newer version than this undoes. */
export function asVersion4(path: string): void {
  const migrations = readdirSync(new URL("../../sql/store/", import.meta.url)).sort();
  if (must(migrations.at(-1), "no migrations") !== "000005.sql")
    throw new Error("there is a newer version of the store: undo that, too");
  using db = new DatabaseSync(path);
  db.exec(UNDONE);
}
