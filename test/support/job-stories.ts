// Random lives of jobs that build no workspace, and of what is told of the worker of any job.

import fc from "fast-check";
import type { JobRow, Uuid } from "../../src/change/row.ts";
import type { Event } from "../../src/derive/step.ts";
import { END, after, jobRow, uuid } from "./rows.ts";
import type { Story } from "./stories.ts";

const WORKER = uuid(9);

/** How jobs end, or do not. A worker had those that name one. */
export const ENDINGS = [
  { status: "success", job: { worker: WORKER } },
  { status: "failure", job: { worker: WORKER, failed: true } },
  { status: "failure", job: { worker: WORKER, failed: true, errorCode: "QUOTA" } },
  { status: "failure", job: { failed: true } },
  { status: "failure", job: { worker: WORKER, failed: true, canceledAt: after(1) } },
  { status: "canceled", job: { canceledAt: after(1) } },
  { status: "canceled", job: { worker: WORKER, canceledAt: after(1) } },
  { status: null, job: { worker: WORKER } },
] as const satisfies readonly { status: string | null; job: Partial<JobRow> }[];

/** What is told of a job beside what it builds. */
export const JOB_LIFE = {
  ending: fc.constantFrom(...ENDINGS),
  /** How often it is told of while it runs. */
  logFlushes: fc.nat(2),
  /** Seconds from its creation until a worker took it, if one did; less than nothing where clocks disagree. */
  startedAfter: fc.integer({ min: -2, max: 40 }),
  /** After the reaper failed the job, the provisioner reports its success. */
  completesLate: fc.boolean(),
};

/** The rows of a job while it runs. */
export function whileItRuns(
  { ending, logFlushes }: Pick<JobLife, "ending" | "logFlushes">,
  startedAt: number,
): readonly Partial<JobRow>[] {
  if (!("worker" in ending.job)) return [];
  const beats = Array.from({ length: logFlushes }, () => ({ startedAt, worker: WORKER }));
  const canceledAt = "canceledAt" in ending.job ? ending.job.canceledAt : null;
  return canceledAt === null ? beats : [...beats, { startedAt, worker: WORKER, canceledAt }];
}

const jobs = fc.record({
  ...JOB_LIFE,
  type: fc.constantFrom("template_version_import", "template_version_dry_run", "daydream"),
});

interface JobLife {
  readonly type: string;
  readonly ending: (typeof ENDINGS)[number];
  readonly logFlushes: number;
  readonly startedAfter: number;
  readonly completesLate: boolean;
}

/** Up to four jobs of other types, each with an id of its own. */
export function jobStories(options: {
  readonly rewrites: boolean;
}): fc.Arbitrary<readonly Story[]> {
  return fc
    .array(jobs, { maxLength: 4 })
    .map((all) => all.map((life, n) => tell(life, uuid(0xa0_0000 + n), options)));
}

function tell(life: JobLife, id: Uuid, { rewrites }: { readonly rewrites: boolean }): Story {
  const { ending, type, startedAfter } = life;
  const startedAt = after(startedAfter);
  const had = "worker" in ending.job;
  const rows = [...whileItRuns(life, startedAt)];
  const expected = had ? [`started ${id} ${startedAfter * 1_000_000}`] : [];
  if (ending.status === null) rows.push({ ...ending.job, startedAt });
  else {
    rows.push({ ...ending.job, startedAt, completedAt: after(30) });
    if (had) expected.push(`ran ${id} ${ending.status} ${(30 - startedAfter) * 1_000_000}`);
    // What no worker had is completed by none.
    if (rewrites && life.completesLate && had)
      rows.push({ worker: WORKER, startedAt, completedAt: after(400) });
  }
  return {
    events: rows.map((row): Event => ({ row: jobRow({ id, type, ...row }), end: END })),
    expected,
  };
}
