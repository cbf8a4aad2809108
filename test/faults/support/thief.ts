// Somebody else who streams from our slot: by mistake, a second consumer with the same name. Speaks the protocol itself, so
// that it acknowledges exactly what a test wants, or nothing.

import pg from "pg";
import { type Lsn, formatLsn } from "../../../src/lsn.ts";
import { confirmedFlush } from "../../crash/support/slots.ts";
import { until } from "../../support/firstlight.ts";

export interface Thief extends AsyncDisposable {
  /** Process id of its walsender. */
  readonly pid: number;
  /** Acknowledges everything up to here, as a consumer would that has handled it. */
  consume(upTo: Lsn): Promise<void>;
}

/** Streams from the slot as soon as nobody else does; `admin` ends whoever is in the way. */
export async function steal(url: string, slot: string, admin: pg.Client): Promise<Thief> {
  for (;;) {
    await admin.query(
      "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1",
      [slot],
    );
    const thief = await start(url, slot);
    if (thief === "in use") continue;
    return {
      ...thief,
      async consume(upTo) {
        await until("the slot was moved", async () => {
          thief.acknowledge(upTo);
          return (await confirmedFlush(admin, slot)) >= upTo;
        });
      },
    };
  }
}

interface Started extends AsyncDisposable {
  readonly pid: number;
  acknowledge(upTo: Lsn): void;
}

/** What `pg` has and its types lack. */
interface Wire {
  readonly processID: number;
  readonly connection: pg.Connection & { sendCopyFromChunk(chunk: Buffer): void };
}

async function start(url: string, slot: string): Promise<Started | "in use"> {
  const client = new pg.Client({
    connectionString: url,
    replication: "database",
    application_name: "somebody_else",
  } as pg.ClientConfig);
  client.on("error", () => undefined); // it is going to be ended
  await client.connect();
  const { connection, processID } = client as unknown as Wire;
  const accepted = Promise.withResolvers<boolean>();
  connection.once("copyData", () => accepted.resolve(true));
  client
    .query(
      `START_REPLICATION SLOT ${slot} LOGICAL ${formatLsn(0n as Lsn)} (proto_version '1', publication_names 'firstlight')`,
    )
    .catch(() => accepted.resolve(false));
  if (!(await accepted.promise)) {
    await client.end();
    return "in use";
  }
  return {
    pid: processID,
    acknowledge(upTo) {
      // https://www.postgresql.org/docs/18/protocol-replication.html: written, flushed, applied, clock, no reply wanted.
      const status = Buffer.alloc(34);
      status.write("r");
      for (const at of [1, 9, 17]) status.writeBigUInt64BE(upTo, at);
      connection.sendCopyFromChunk(status);
    },
    async [Symbol.asyncDispose]() {
      connection.stream.destroy();
    },
  };
}
