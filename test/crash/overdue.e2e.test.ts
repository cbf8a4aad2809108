// SIGKILL between an agent's birth and the moment when its time is up: who waits is in the store, and is told once, by whoever runs then.

import { expect, test } from "vitest";
import { expectLedgerEqualsTables } from "../support/exact.ts";
import { TIMEOUTS } from "../support/exact-overdue.ts";
import { type Process, startProcess, until } from "../support/firstlight.ts";
import { JOBS } from "../support/hand-made.ts";
import { sumOf, valueOf } from "../support/scrape.ts";
import { type Scene, scene } from "../pipeline/support/scene.ts";

const SCRIPT = new URL("./support/serve-impatient.ts", import.meta.url).pathname;

const start = ({ target }: Scene): Promise<Process> =>
  startProcess({ ...target, script: SCRIPT, env: { GRACE_MS: "500" } });

test("killed before its time is up: told once by the next process, and by no other after that", () =>
  scene(async (on) => {
    const { client, made, target } = on;
    {
      await using victim = await start(on);
      await victim.caughtUp();
      const { job } = await made.inOneTransaction(() => made.build({ job: JOBS.succeeded }));
      await made.agent(job, { name: "never", timeout: 6 });
      const meanwhile = await made.agent(job, { name: "meanwhile", timeout: 6 });
      const page = await victim.caughtUp();
      expect(valueOf(page, 'firstlight_in_flight{kind="agent"}')).toBe(2);
      expect(sumOf(page, TIMEOUTS)).toBe(0);
      await victim.kill();
      // In time by its row; whether anybody follows then is of no matter.
      await made.connects(meanwhile, 5);
    }
    {
      await using next = await start(on);
      await until("one is told", async () => sumOf(await next.scrape(), TIMEOUTS) === 1, 30_000);
      await next.kill();
    }
    {
      await using last = await start(on);
      const page = await last.caughtUp();
      expect(sumOf(page, TIMEOUTS)).toBe(1);
      expect(sumOf(page, "firstlight_divergent_ids")).toBe(0);
      expect(valueOf(page, 'firstlight_facts_total{fact="overdue"}')).toBe(0);
      await last.terminate();
    }
    await expectLedgerEqualsTables(client, target.statePath);
  }));
