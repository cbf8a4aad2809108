// The measurements at one number of workspaces. Firstlight and prom-client are scraped in turns.

import { parseScrape } from "../../../support/scrape.ts";
import type { BenchOptions } from "../../support/section.ts";
import { NAME } from "./data.ts";
import { type Encoding, type Scraped, Subject } from "./subject.ts";

/** Until the compiler has seen the loops: a process that is scraped every 15 s is there after minutes. */
const WARM_UPS = 10;
/** Where one scrape of prom-client takes seconds, the loops are hot after the first. */
const LARGE = 50_000;
const LARGE_WARM_UPS = 1;
const LARGE_GZIP_PAIRS = 3;
const SLICES = 5;

/** Bytes by which a process was larger than before its first scrape, at the most. */
export interface Growth {
  readonly ours: number;
  readonly theirs: number;
}

export interface Figures {
  readonly workspaces: number;
  readonly text: Pairs;
  /** With the pieces of all pages kept; after one commit; without any. */
  readonly gzip: Pairs & { readonly changed: Scraped[]; readonly cold: Scraped[] };
  readonly growth: { readonly text: Growth; readonly gzip: Growth };
  /** Milliseconds of CPU and by the clock. */
  readonly slices: Readonly<Record<Situation, { readonly cpu: number[]; readonly wall: number[] }>>;
  /** Two scrapers at once while facts arrive. */
  readonly busy: Readonly<Record<Encoding, readonly Scraped[]>>;
}

export const SITUATIONS = [
  "prom-client, text",
  "text",
  "gzip, kept",
  "gzip, nothing kept",
  "two scrapers and facts, text",
  "two scrapers and facts, gzip",
] as const;
export type Situation = (typeof SITUATIONS)[number];

export interface Pairs {
  readonly ours: Scraped[];
  readonly theirs: Scraped[];
}

export async function measure(workspaces: number, options: BenchOptions): Promise<Figures> {
  const { log, signal } = options;
  log(`scrape: ${workspaces} workspaces: begin`);
  await using ours = await Subject.start("firstlight", workspaces, signal);
  await using theirs = await Subject.start("prom-client", workspaces, signal);
  const both = { ours, theirs };
  await ours.markMemory();
  await theirs.markMemory();
  const growth = (): Growth => ({ ours: ours.growth, theirs: theirs.growth });
  const text = await scrapeText(workspaces, both, options);
  const growthOfText = growth();
  const gzip = await scrapeGzip(workspaces, both, options);
  const growthOfGzip = growth();
  log(`scrape: ${workspaces} workspaces: slices`);
  const slices = await longestSlices(both);
  const busy = { identity: [] as Scraped[], gzip: [] as Scraped[] };
  await ours.ask("commits");
  for (let round = 0; round < options.pairs; round += 1) {
    for (const encoding of ["identity", "gzip"] as const)
      busy[encoding].push(await ours.scrape(encoding, 2));
  }
  await ours.ask("noCommits");
  return {
    workspaces,
    text,
    gzip,
    growth: { text: growthOfText, gzip: growthOfGzip },
    slices,
    busy,
  };
}

interface Both {
  readonly ours: Subject;
  readonly theirs: Subject;
}

async function scrapeText(
  workspaces: number,
  { ours, theirs }: Both,
  { pairs, smoke, log }: BenchOptions,
): Promise<Pairs> {
  const found: Pairs = { ours: [], theirs: [] };
  const warmUps = smoke || workspaces >= LARGE ? LARGE_WARM_UPS : WARM_UPS;
  for (let round = -warmUps; round < pairs; round += 1) {
    if (round >= 0) log(`scrape: ${workspaces} workspaces: pair ${round + 1}`);
    const mine = await ours.scrape("identity");
    const other = await theirs.scrape("identity");
    if (round < 0) continue;
    found.ours.push(mine);
    found.theirs.push(other);
  }
  if (workspaces < LARGE) await requireSame(await ours.text(), await theirs.text());
  return found;
}

/** The two must show the same numbers, or one of them is spared work. */
async function requireSame(ours: string, theirs: string): Promise<void> {
  const [one, other] = [ours, theirs].map((page) =>
    [...parseScrape(page).series]
      .filter(([series]) => series.startsWith(`${NAME}_`))
      .reduce((sum, [, value]) => sum + value, 0),
  );
  if (one === undefined || other === undefined || !(Math.abs(one - other) < 1e-3 * one))
    throw new Error(`the exporters do not show the same: ${one} and ${other}`);
}

async function scrapeGzip(
  workspaces: number,
  { ours, theirs }: Both,
  { pairs, log }: BenchOptions,
): Promise<Figures["gzip"]> {
  const found: Figures["gzip"] = { ours: [], theirs: [], changed: [], cold: [] };
  const count = workspaces >= LARGE ? Math.min(pairs, LARGE_GZIP_PAIRS) : pairs;
  await ours.scrape("gzip");
  for (let round = 0; round < count; round += 1) {
    log(`scrape: ${workspaces} workspaces: gzip, pair ${round + 1}`);
    found.ours.push(await ours.scrape("gzip"));
    found.theirs.push(await theirs.scrape("gzip"));
    await ours.ask("commit");
    found.changed.push(await ours.scrape("gzip"));
    await ours.ask("forget");
    found.cold.push(await ours.scrape("gzip"));
  }
  return found;
}

async function longestSlices({ ours, theirs }: Both): Promise<Figures["slices"]> {
  const slices = Object.fromEntries(
    SITUATIONS.map((situation) => [situation, { cpu: [], wall: [] }]),
  ) as unknown as Figures["slices"];
  const look = async (situation: Situation, encoding: Encoding, scrapers = 1): Promise<void> => {
    const subject = situation.startsWith("prom-client") ? theirs : ours;
    const { cpu, wall } = await subject.slice(encoding, scrapers);
    slices[situation].cpu.push(cpu);
    slices[situation].wall.push(wall);
  };
  await look("prom-client, text", "identity");
  for (let round = 0; round < SLICES; round += 1) {
    await look("text", "identity");
    await ours.ask("forget");
    await look("gzip, nothing kept", "gzip");
    await look("gzip, kept", "gzip");
    await ours.ask("commits");
    await look("two scrapers and facts, text", "identity", 2);
    await look("two scrapers and facts, gzip", "gzip", 2);
    await ours.ask("noCommits");
  }
  return slices;
}
