// `subscribe` of the package `postgres` makes a temporary slot of its own and can not begin at another one. So it is subscribed
// before the backlog is written, held still meanwhile, and let go when it is its turn: one process for each run.

import type { Bed } from "../../support/bed.ts";
import { type Competitor, startCompetitor } from "../../support/competitor.ts";
import { cpuBetween, cpusOf, memoryOf } from "../../support/cpu.ts";
import { orAborted } from "../../support/waiting.ts";
import type { Contestant, Drained } from "./contestants.ts";

export interface Subscribers extends AsyncDisposable, Contestant {
  /** Subscribes as many as there will be runs. */
  prepare(runs: number): Promise<void>;
}

export function subscribers(bed: Bed): Subscribers {
  const ready: { readonly role: string; readonly process: Competitor }[] = [];
  return {
    name: "postgres, subscribe",
    async prepare(runs) {
      for (let run = 0; run < runs; run += 1) {
        const role = `bench_subscribe_${run}`;
        const url = await bed.addRole(role);
        const process = await startCompetitor("subscribe", {
          url,
          slot: "its own",
          publication: "firstlight",
          target: "0/0",
        });
        process.signal("SIGSTOP");
        ready.push({ role, process });
      }
    },
    async drain({ signal }): Promise<Drained> {
      const next = ready.shift();
      if (next === undefined) throw new Error("no subscriber is left");
      await using process = next.process;
      const backends = await bed.backends(next.role);
      const before = cpusOf(backends);
      process.signal("SIGUSR2"); // starts its clock, as soon as it goes on
      process.signal("SIGCONT");
      const { ms, cpuUs } = await orAborted(process.reached, signal);
      return {
        ms,
        clientUs: cpuUs,
        serverUs: cpuBetween(before, cpusOf(backends)) / 1000,
        peak: memoryOf(process.pid).peak,
      };
    },
    async [Symbol.asyncDispose]() {
      for (const { process } of ready) await process[Symbol.asyncDispose]();
    },
  };
}
