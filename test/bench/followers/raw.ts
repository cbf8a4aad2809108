// The least a client in Node can do: takes the frames, looks at nothing but commits, and says once a second how far it is.

import pg from "pg";
import { type Lsn, ZERO_LSN, toLsn } from "../../../src/lsn.ts";
import { Progress } from "./progress.ts";

const XLOG_DATA = 0x77;
const COMMIT = 0x43;
const HEADER = 25;
/** In a Commit message: after its tag, flags and the commit's own position. */
const COMMIT_END = 10;
const SMALL_READ = 32 * 1024;
const STATUS_EVERY_MS = 1_000;

const progress = new Progress();
const { url, slot, publication, pauseMs } = progress.options;
const config: pg.ClientConfig & { replication: string } = {
  connectionString: url,
  replication: "database",
};
const client = new pg.Client(config);
await client.connect();
// The types of `pg` do not know that it can write into a COPY.
const connection = client.connection as pg.Connection & {
  sendCopyFromChunk(chunk: Buffer): void;
};

let received: Lsn = ZERO_LSN;
connection.on("copyData", ({ chunk }: { chunk: Buffer }) => {
  if (chunk[0] !== XLOG_DATA || chunk[HEADER] !== COMMIT) return;
  received = toLsn(chunk.readBigUInt64BE(HEADER + COMMIT_END));
  progress.commit(received);
});
connection.once("replicationStart", () => {
  progress.began();
  setInterval(() => sendStatus(received), STATUS_EVERY_MS);
  if (pauseMs === undefined) return;
  const { stream } = connection;
  stream.on("data", (data: Buffer) => {
    if (data.length >= SMALL_READ) return;
    stream.pause();
    setTimeout(() => stream.resume(), pauseMs);
  });
});

function sendStatus(lsn: Lsn): void {
  const status = Buffer.alloc(34);
  status.write("r");
  for (const offset of [1, 9, 17]) status.writeBigUInt64BE(lsn, offset);
  connection.sendCopyFromChunk(status);
}

await client.query(
  `START_REPLICATION SLOT ${pg.escapeIdentifier(slot)} LOGICAL 0/0 (proto_version '1', publication_names '${pg.escapeIdentifier(publication)}')`,
);
