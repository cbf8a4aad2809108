// A host that vanishes without a word at the two moments when nobody listens to a stream: while it is asked who it is, and
// while its tables are read. The limits that are minutes in production are seconds here.

import { expect, test } from "vitest";
import { disconnect } from "../../crash/support/slots.ts";
import { until } from "../../support/firstlight.ts";
import { valueOf } from "../../support/scrape.ts";
import { type Network, expectUndisturbed, openNetwork } from "../support/network.ts";
import { said } from "../support/scene.ts";

const timing = { backOffUpToMs: 200, silenceMs: 2_000 };

interface Hole {
  /** The next connection on which this is sent hears nothing more. */
  arm(text: string): void;
  readonly fallenIn: () => boolean;
}

/** A network with one hole, which nobody has fallen into. */
async function openTrap(): Promise<Hole & { readonly network: Network }> {
  let trigger: string | undefined;
  let fallenIn = false;
  const network = await openNetwork({
    onMessage: (message, link) => {
      if (trigger !== undefined && message.includes(trigger)) {
        link.set({ toServer: { kind: "blackhole" }, toClient: { kind: "blackhole" } });
        trigger = undefined;
        fallenIn = true;
      }
      return message;
    },
  });
  return { network, arm: (text) => (trigger = text), fallenIn: () => fallenIn };
}

test("the host goes silent while it is asked who it is: the question is given up, and asked again", async () => {
  const trap = await openTrap();
  await using network = trap.network;
  const { client, simulation } = network;
  await using firstlight = await network.follow({ timing });
  await firstlight.caughtUp();
  trap.arm("IDENTIFY_SYSTEM");
  await disconnect(client);
  await until("nobody answers", trap.fallenIn);
  await simulation.run({ workflows: 5 });
  const page = await network.finish(firstlight);
  expectUndisturbed(page);
  expect(reasons(firstlight.log)).toContain("no_answer");
});

test("the host goes silent while its tables are read: they are read again, and nothing is counted twice", async () => {
  const trap = await openTrap();
  await using network = trap.network;
  await network.simulation.run({ workflows: 10 });
  trap.arm("copy (");
  await using firstlight = await network.follow({ timing });
  await until("no row comes", trap.fallenIn);
  const page = await network.finish(firstlight);
  expectUndisturbed(page);
  expect(reasons(firstlight.log)).toEqual(["silence"]);
  expect(valueOf(page, "firstlight_reconnects_total")).toBe(1);
});

function reasons(log: readonly string[]): unknown[] {
  return said(log, "not following, will try again").map(({ reason }) => reason);
}
