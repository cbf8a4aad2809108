// Who reads the same load: Firstlight in its ways, what people use today, and the floor below both.

import { join } from "node:path";
import { OPTIONS } from "../../../../src/config.ts";
import type { Lsn } from "../../../../src/lsn.ts";
import { must } from "../../../../src/errors.ts";
import type { Bed, Published } from "../../support/bed.ts";
import { startCompetitor } from "../../support/competitor.ts";
import { type Firstlight, startFirstlight } from "../../support/firstlight.ts";

/** Something that reads; disposing ends it. */
export interface Reader extends AsyncDisposable {
  readonly pid: number;
  /** Whose server processes are its own. */
  readonly role: string;
  /** Everything up to here is handled; absent where nothing is to be seen of that. */
  handled?(): Promise<Lsn>;
  /** Where it is Firstlight. */
  readonly firstlight?: Firstlight;
}

export interface Subject {
  readonly name: string;
  /** From one burst to the next; 0: streams. */
  readonly everyMs: number;
  start(): Promise<Reader>;
}

export interface Subjects {
  /** As Firstlight comes. */
  readonly ours: Subject;
  readonly stock: Subject;
  /** Firstlight with other pauses than it comes with: readers that may run beside each other. */
  readonly bursts: readonly Subject[];
  readonly streams: readonly Subject[];
}

const DEFAULT_WAY = must(
  OPTIONS.find(({ key }) => key === "readEvery")?.default,
  "no default pause",
);
const OTHER_WAYS = ["250ms", "1s", "2s", "5s"].filter((way) => way !== DEFAULT_WAY);

export interface PrepareOptions {
  readonly bed: Bed;
  /** For ledgers. */
  readonly folder: string;
  /** Only what is compared with each other, nothing beside it. */
  readonly few: boolean;
  readonly signal: AbortSignal;
}

/** Creates roles, slots and ledgers: Firstlight reads the tables here. */
export async function prepareSubjects(options: PrepareOptions): Promise<Subjects> {
  const { bed, few } = options;
  const ours = await prepareFirstlight(options, DEFAULT_WAY);
  const stock = await prepareScript(bed, {
    name: "stock plugin, whole tables",
    script: "stock",
    publication: "whole",
  });
  if (few) return { ours: ours(DEFAULT_WAY), stock, bursts: [], streams: [] };
  const bursts: Subject[] = [];
  for (const way of OTHER_WAYS) bursts.push((await prepareFirstlight(options, way))(way));
  const floor = await prepareScript(bed, {
    name: "raw stream, nothing published",
    script: "raw",
    publication: "nothing",
  });
  return { ours: ours(DEFAULT_WAY), stock, bursts, streams: [ours("0"), floor] };
}

/** A ledger with its slot and role, to be followed in one way or another. */
async function prepareFirstlight(
  { bed, folder, signal }: PrepareOptions,
  label: string,
): Promise<(readEvery: string) => Subject> {
  const role = `bench_firstlight_${label}`;
  const url = await bed.addRole(role);
  const subject = (readEvery: string): Subject => {
    const everyMs = milliseconds(readEvery);
    return {
      name: everyMs === 0 ? "Firstlight, streaming" : `Firstlight, every ${everyMs / 1000} s`,
      everyMs,
      start: async () => {
        const statePath = join(folder, `${label}.db`);
        const firstlight = await startFirstlight({ url, slot: role, statePath, readEvery, signal });
        return {
          pid: firstlight.process.pid,
          role,
          handled: async () => firstlight.applied(),
          firstlight,
          [Symbol.asyncDispose]: async () => firstlight[Symbol.asyncDispose](),
        };
      },
    };
  };
  await using baseline = await subject(label).start();
  await baseline.firstlight?.reaches(await bed.position(), 100);
  return subject;
}

interface Script {
  readonly name: string;
  readonly script: "stock" | "raw";
  readonly publication: Published;
}

/** Reads from where it is started: its slot lives as long as it. */
async function prepareScript(bed: Bed, { name, script, publication }: Script): Promise<Subject> {
  const role = `bench_${script}`;
  const url = await bed.addRole(role);
  return {
    name,
    everyMs: 0,
    async start() {
      await bed.addSlot(role);
      const running = await startCompetitor(script, { url, slot: role, publication });
      return {
        pid: running.pid,
        role,
        ...(publication === "nothing" ? {} : { handled: async () => running.position() }),
        async [Symbol.asyncDispose]() {
          await running[Symbol.asyncDispose]();
          await bed.dropSlot(role);
        },
      };
    },
  };
}

function milliseconds(readEvery: string): number {
  const [, digits, unit] = /^(\d+)(ms|s)?$/.exec(readEvery) ?? [];
  return Number(digits) * (unit === "s" ? 1000 : 1);
}
