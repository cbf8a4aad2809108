// Coder's statements on workspaces, workspace_builds and workspace_resources (coderd/database/queries/), one function each.

import type { Micros } from "../../../change/micros.ts";
import { PREBUILDS_USER, type Uuid } from "../../../change/row.ts";
import type { Build, Job, Transition, User, Workspace } from "../model.ts";
import { insert, sql, time, update, type Sql } from "../sql.ts";

/** InsertWorkspace. */
export function insertWorkspace(workspace: Workspace, at: Micros): Sql {
  return insert("workspaces", {
    id: workspace.id,
    created_at: time(at),
    updated_at: time(at),
    owner_id: workspace.owner.id,
    organization_id: workspace.template.organization.id,
    template_id: workspace.template.id,
    name: workspace.name,
    autostart_schedule: null,
    ttl: 28_800_000_000_000,
    last_used_at: time(at),
    automatic_updates: "never",
  });
}

/** UpdateWorkspaceDormantDeletingAt: what a start by API writes first when the workspace was dormant. */
export function wakeWorkspace(workspace: Workspace, at: Micros): Sql {
  return update("workspaces", workspace.id, {
    dormant_at: null,
    deleting_at: null,
    last_used_at: time(at),
  });
}

/** UpdateWorkspace: a rename. */
export function renameWorkspace(workspace: Workspace, name: string): Sql {
  return update("workspaces", workspace.id, { name });
}

/** ClaimPrebuiltWorkspace: the prebuilt workspace becomes the user's, under the user's name for it. */
export function claimWorkspace(
  workspace: Workspace,
  options: { owner: User; name: string; at: Micros },
): Sql {
  return update("workspaces", workspace.id, {
    owner_id: options.owner.id,
    name: options.name,
    updated_at: time(options.at),
    last_used_at: time(options.at),
    ttl: 28_800_000_000_000,
  });
}

/** UpdateWorkspaceNextStartAt. */
export function nextStart(workspace: Workspace, at: Micros | null): Sql {
  return update("workspaces", workspace.id, { next_start_at: time(at) });
}

/** UpdateWorkspaceDeletedByID. */
export function deleteWorkspace(workspace: Workspace): Sql {
  return update("workspaces", workspace.id, { deleted: true });
}

/** InsertWorkspaceBuild. */
export function insertBuild(build: Build): Sql {
  return insert("workspace_builds", {
    id: build.id,
    created_at: time(build.createdAt),
    updated_at: time(build.createdAt),
    workspace_id: build.workspace.id,
    template_version_id: build.version.id,
    build_number: build.number,
    transition: build.transition,
    initiator_id: build.initiator,
    job_id: build.job.id,
    provisioner_state: build.state,
    deadline: "0001-01-01 00:00:00+00",
    max_deadline: "0001-01-01 00:00:00+00",
    reason: build.reason,
    template_version_preset_id: build.preset?.id ?? null,
  });
}

/** UpdateWorkspaceBuildProvisionerStateByID: at the end of a build, and when a template admin pushes a state. */
export function buildState(build: Build, state: Uint8Array, at: Micros): Sql {
  return update("workspace_builds", build.id, { provisioner_state: state, updated_at: time(at) });
}

/** UpdateWorkspaceBuildDeadlineByID: touches no row while the prebuilds user owns the workspace. */
export function buildDeadline(build: Build, deadline: Micros, at: Micros): Sql {
  return sql`update workspace_builds
    set deadline = ${time(deadline)}, max_deadline = ${time(deadline)}, updated_at = ${time(at)}
    from workspaces
    where workspace_builds.id = ${build.id} and workspaces.id = workspace_builds.workspace_id
      and workspaces.owner_id <> ${PREBUILDS_USER}`;
}

/** UpdateWorkspaceBuildFlagsByID. */
export function buildFlags(build: Build, at: Micros): Sql {
  return update("workspace_builds", build.id, {
    has_ai_task: false,
    has_external_agent: false,
    updated_at: time(at),
  });
}

/** UpdateWorkspaceBuildCostByID: the quota, between plan and apply. */
export function buildCost(build: Build, dailyCost: number): Sql {
  return update("workspace_builds", build.id, { daily_cost: dailyCost });
}

/** ActivityBumpWorkspace: somebody is connected, so the workspace stops later. */
export function bumpDeadline(build: Build, deadline: Micros, at: Micros): Sql {
  return update("workspace_builds", build.id, { deadline: time(deadline), updated_at: time(at) });
}

/** A migration that rewrites every build, as adding a computed flag does. */
export function rewriteAllBuilds(): Sql {
  return sql`update workspace_builds set has_external_agent = false where has_external_agent is not true`;
}

export interface Resource {
  readonly id: Uuid;
  readonly job: Job;
  readonly transition: Transition;
  readonly type: string;
  readonly name: string;
  readonly createdAt: Micros;
}

/** InsertWorkspaceResource: of a build, a template import or a dry run. */
export function insertResource(resource: Resource): Sql {
  return insert("workspace_resources", {
    id: resource.id,
    created_at: time(resource.createdAt),
    job_id: resource.job.id,
    transition: resource.transition,
    type: resource.type,
    name: resource.name,
    hide: false,
    icon: "",
    instance_type: null,
    daily_cost: 0,
  });
}
