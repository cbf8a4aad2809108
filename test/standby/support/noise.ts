// What a snapshot may meet beside Coder's ordinary short transactions: long ones that overlap, with savepoints, parts that
// are rolled back, and some that are rolled back as a whole.

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { Random } from "../../../src/demo/coder/random.ts";
import { HandMade, JOBS, at } from "../../support/hand-made.ts";
import { connect } from "../../support/standby.ts";

const WRITERS = 3;
const OPEN_FOR_MS = [50, 600] as const;

export interface Noise extends AsyncDisposable {
  /** Transactions that were committed so far, and rolled back. */
  readonly committed: number;
  readonly rolledBack: number;
}

/** Writes until disposed; the last transactions are ended then. */
export function startNoise(url: string, seed: number): Noise {
  const done = new AbortController();
  const counts = { committed: 0, rolledBack: 0 };
  const write = async (writer: number): Promise<void> => {
    await using client = await connect(url);
    const random = new Random(seed * WRITERS + writer);
    const made = await HandMade.again(client);
    const owner = randomUUID();
    await made.user(owner, `noise-${writer}`);
    while (!done.signal.aborted) {
      await client.query("begin");
      await writeSome({ client, made, owner, random });
      const commits = random.between(0, 3) > 0;
      await client.query(commits ? "commit" : "rollback");
      counts[commits ? "committed" : "rolledBack"] += 1;
    }
  };
  const running = Promise.all(Array.from({ length: WRITERS }, async (_, writer) => write(writer)));
  return {
    get committed() {
      return counts.committed;
    },
    get rolledBack() {
      return counts.rolledBack;
    },
    async [Symbol.asyncDispose]() {
      done.abort();
      await running;
    },
  };
}

interface Writing {
  readonly client: pg.Client;
  readonly made: HandMade;
  readonly owner: string;
  readonly random: Random;
}

/** A build that runs, one that may never have been, a while, and the end of the first with its agent. */
async function writeSome({ client, made, owner, random }: Writing): Promise<void> {
  const { job } = await made.build({
    job: JOBS.running,
    workspace: await made.workspace({ owner }),
  });
  await client.query("savepoint here");
  const doubtful = await made.build({
    job: JOBS.succeeded,
    workspace: await made.workspace({ owner }),
  });
  await made.agent(doubtful.job, { connected: 7 });
  await client.query(`${random.between(0, 1) > 0 ? "rollback to" : "release"} savepoint here`);
  await sleep(random.between(...OPEN_FOR_MS));
  await made.agent(job, { connected: 42 });
  await client.query(
    "update provisioner_jobs set completed_at = $2, updated_at = $2 where id = $1",
    [job, at(60)],
  );
}
