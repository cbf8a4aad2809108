// Coder's statements on provisioner_jobs (coderd/database/queries/provisionerjobs.sql), one function each.

import type { Micros } from "../../../change/micros.ts";
import type { Uuid } from "../../../change/row.ts";
import type { Job } from "../model.ts";
import { insert, list, sql, time, update, type Sql } from "../sql.ts";

/** InsertProvisionerJob: pending, claimed by nobody. */
export function insertJob(job: Job, input: Readonly<Record<string, unknown>>): Sql {
  return insert("provisioner_jobs", {
    id: job.id,
    created_at: time(job.createdAt),
    updated_at: time(job.createdAt),
    organization_id: job.organization.id,
    initiator_id: job.initiator,
    provisioner: "terraform",
    storage_method: "file",
    file_id: job.fileId,
    type: job.type,
    input: JSON.stringify(input),
    tags: '{"owner": "", "scope": "organization"}',
    trace_metadata: "{}",
    logs_overflowed: false,
  });
}

/** AcquireProvisionerJob. Coder lets the statement choose the job; the simulation has chosen, and keeps its shape. */
export function acquireJob(job: Job, options: { at: Micros; worker: Uuid }): Sql {
  return sql`update provisioner_jobs
    set started_at = ${time(options.at)}, updated_at = ${time(options.at)}, worker_id = ${options.worker}
    where id = (
      select id from provisioner_jobs where id = ${job.id} and started_at is null for update skip locked limit 1
    )`;
}

/** UpdateProvisionerJobByID: the runner's heartbeat. */
export function heartbeatJob(job: Job, at: Micros): Sql {
  return update("provisioner_jobs", job.id, { updated_at: time(at) });
}

/** UpdateProvisionerJobLogsLength: the second half of a log flush. */
export function jobLogsLength(job: Job, added: number): Sql {
  return sql`update provisioner_jobs set logs_length = logs_length + ${added} where id = ${job.id}`;
}

export interface Ending {
  readonly at: Micros;
  /** Null when the job succeeded. */
  readonly error: string | null;
  readonly errorCode?: string | null;
}

/** UpdateProvisionerJobWithCompleteByID: the end of a job, whether good or bad. */
export function completeJob(job: Job, { at, error, errorCode = null }: Ending): Sql {
  return update("provisioner_jobs", job.id, {
    updated_at: time(at),
    completed_at: time(at),
    error,
    error_code: errorCode,
  });
}

/** UpdateProvisionerJobWithCompleteWithStartedAtByID: an end without a beginning (the reaper, orphan deletes). */
export function completeUnstartedJob(job: Job, { at, error, errorCode = null }: Ending): Sql {
  return update("provisioner_jobs", job.id, {
    updated_at: time(at),
    completed_at: time(at),
    error,
    error_code: errorCode,
    started_at: time(at),
  });
}

/** UpdateProvisionerJobWithCancelByID. A pending job ends with it (`completed`); a running one is only asked to stop. */
export function cancelJob(job: Job, options: { at: Micros; completed: boolean }): Sql {
  return update("provisioner_jobs", job.id, {
    canceled_at: time(options.at),
    completed_at: options.completed ? time(options.at) : null,
  });
}

/** UpdatePrebuildProvisionerJobWithCancel: many pending jobs of outdated prebuilds at once. */
export function cancelPrebuildJobs(jobs: readonly Job[], at: Micros): Sql {
  return sql`update provisioner_jobs set canceled_at = ${time(at)}, completed_at = ${time(at)}
    where id = any (${list(jobs.map((job) => job.id))}::uuid[])
      and worker_id is null and canceled_at is null and completed_at is null`;
}

/** A migration that rewrites every job, as 000355 did for `logs_length`. */
export function rewriteAllJobs(): Sql {
  return sql`update provisioner_jobs set logs_overflowed = logs_length > 1000000`;
}
