// What a terminal shows while a ledger is read: how far, how fast, and how much is left.

import { expect, test } from "vitest";
import { toLsn } from "../../src/lsn.ts";
import { LedgerProgress, ProgressLines } from "../../src/pipeline/ledger-progress.ts";

test("of the tables: rows of about how many, the pace since the line before, and what is left", () => {
  const progress = new LedgerProgress();
  const lines = new ProgressLines(progress);
  expect(lines.line(0)).toBe("");
  progress.about = { builds: 100_000, agents: 50_000 };
  progress.rows.builds = 10_000;
  expect(lines.line(1_000)).toBe(
    "tables: 10,000 of about 100,000 builds, 0 of about 50,000 agents",
  );
  progress.rows.builds = 30_000;
  expect(lines.line(3_000)).toBe(
    "tables: 30,000 of about 100,000 builds, 0 of about 50,000 agents, 10,000 rows/s, about 12 s left",
  );
  // The server's estimate was too low: nothing is promised any more.
  progress.rows.builds = 160_000;
  expect(lines.line(4_000)).toBe(
    "tables: 160,000 of about 100,000 builds, 0 of about 50,000 agents, 130,000 rows/s",
  );
});

test("of tables that were never analyzed: rows and pace alone", () => {
  const progress = new LedgerProgress();
  const lines = new ProgressLines(progress);
  progress.rows.builds = 1;
  lines.line(0);
  progress.rows.agents = 500;
  expect(lines.line(500)).toBe("tables: 1 builds, 500 agents, 1,000 rows/s");
});

test("of a slot: changes, position and megabytes; the tables after it begin a pace of their own", () => {
  const progress = new LedgerProgress();
  const lines = new ProgressLines(progress);
  const [from, until] = [toLsn(0x100_0000n), toLsn(0x100_0000n + (8_000n << 20n))];
  progress.slot = { from, at: from, until };
  expect(lines.line(0)).toBe("slot: 0 changes, at 0/1000000 of 1/F5000000, 0 of 8000 MB");
  progress.changes.changes.workspace_agents.update = 1_234_567;
  progress.slot = { from, at: toLsn(from + (10n << 20n)), until };
  expect(lines.line(2_000)).toBe(
    "slot: 1,234,567 changes, at 0/1A00000 of 1/F5000000, 10 of 8000 MB, 5.0 MB/s, about 27 min left",
  );
  // A query that brought no news yet: no pace to judge by.
  expect(lines.line(3_000)).toBe(
    "slot: 1,234,567 changes, at 0/1A00000 of 1/F5000000, 10 of 8000 MB",
  );
  progress.slot = null;
  progress.rows.builds = 700;
  expect(lines.line(4_000)).toBe("tables: 700 builds, 0 agents");
});
