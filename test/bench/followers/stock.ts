// What people use from Node today: `pg-logical-replication` with its own `PgoutputPlugin`, all settings as they come.

import { LogicalReplicationService, type Pgoutput, PgoutputPlugin } from "pg-logical-replication";
import { parseLsn } from "../../../src/lsn.ts";
import { Progress } from "./progress.ts";

const progress = new Progress();
const { url, slot, publication } = progress.options;
const service = new LogicalReplicationService({ connectionString: url });
service.on("start", () => progress.began());
service.on("data", (_lsn, message: Pgoutput.Message) => {
  if (message.tag === "commit" && message.commitEndLsn !== null)
    progress.commit(parseLsn(message.commitEndLsn));
});
await service.subscribe(
  new PgoutputPlugin({ protoVersion: 1, publicationNames: [publication] }),
  slot,
);
