// `promtool tsdb create-blocks-from openmetrics`, as the printed commands have it.

import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { type Manifest, manifestOf } from "./command.ts";

/** Samples that each file was found to have, and how many blocks were made of it. */
export interface Taken {
  readonly name: string;
  readonly samples: number;
  readonly blocks: number;
}

/** Makes blocks of all files in `folder`, which go to `blocks`. */
export async function createBlocks(
  folder: string,
  blocks: string,
): Promise<{ manifest: Manifest; taken: readonly Taken[] }> {
  const manifest = await manifestOf(folder);
  const taken = manifest.files.map(({ name }) => {
    const table = execFileSync(
      "promtool",
      [
        "tsdb",
        "create-blocks-from",
        `--max-block-duration=${manifest.block_hours}h`,
        "openmetrics",
        join(folder, name),
        blocks,
      ],
      { encoding: "utf8", maxBuffer: 1 << 26 },
    );
    // BLOCK ULID, MIN TIME, MAX TIME, DURATION, NUM SAMPLES, …
    const rows = table.split("\n").filter((line) => /^[0-9A-Z]{26} /.test(line));
    const samples = rows.map((row) => Number(row.split(/\s+/)[4]));
    return { name, samples: samples.reduce((sum, n) => sum + n, 0), blocks: rows.length };
  });
  return { manifest, taken };
}

/** The names of the series in a manifest, e.g. `x_bucket`. */
export function seriesNames({ last_values }: Manifest): readonly string[] {
  return [
    ...new Set(Object.keys(last_values).map((series) => series.slice(0, series.indexOf("{")))),
  ];
}
