// Templates: imports, dry runs, renames, deletion and a successor of the same name (coderd/templateversions.go,
// coderd/templates.go). Import and dry-run jobs insert resources and agents that never connect.

import { SECOND, type Micros } from "../../../change/micros.ts";
import type { Uuid } from "../../../change/row.ts";
import { finish, insertBuild, queueAndAcquire, work } from "../building.ts";
import { canaryInput, errorText, newJob } from "../drafts.ts";
import type { AgentSpec, Job, Organization, Preset, Template, User, Version } from "../model.ts";
import { moniker } from "../names.ts";
import { insertAgent } from "../statements/agents.ts";
import { insertResource } from "../statements/builds.ts";
import * as catalog from "../statements/catalog.ts";
import { completeJob, insertJob } from "../statements/jobs.ts";
import type { Sql } from "../sql.ts";
import type { Process } from "../timeline.ts";
import type { World } from "../world.ts";
import { hold, insertFirstBuild, newWorkspace, templateOf, userOf } from "./reserve.ts";

export interface TemplateSpec {
  readonly organization: Organization;
  readonly name: string;
  readonly presets: readonly Preset[];
  readonly agents: readonly AgentSpec[];
}

export interface TemplateOptions {
  /** Default: any. */
  readonly template?: Uuid;
}

/**
 * The first version is imported before its template exists; then both are tied together in one transaction.
 * The caller adds the template to those that others may use.
 */
export async function* createTemplate(world: World, spec: TemplateSpec): Process<Template> {
  const by = userOf(world);
  const version = yield* importVersion(world, { ...spec, by, template: null });
  const replica = world.replica();
  const at = replica.now();
  const { organization, name } = spec;
  const template: Template = {
    id: world.random.uuid(),
    organization,
    name,
    version,
    deleted: false,
  };
  const statements = [
    catalog.insertTemplate(template, { by, at }),
    catalog.adoptVersion(version, template, at),
    catalog.activateVersion(template, version, at),
  ];
  yield* world.transaction({ replica, statements });
  return template;
}

/** A new version of a template, with presets of the same names under new ids, becomes the active one. */
export async function* publishVersion(
  world: World,
  options: TemplateOptions = {},
): Process<Version> {
  const template = templateOf(world, options.template);
  const presets = template.version.presets.map((preset) => ({
    ...preset,
    id: world.random.uuid(),
  }));
  const { organization } = template;
  const { agents } = template.version;
  const version = yield* importVersion(world, {
    organization,
    presets,
    agents,
    by: userOf(world),
    template,
  });
  const replica = world.replica();
  await replica.send([catalog.activateVersion(template, version, replica.now())]);
  template.version = version;
  return version;
}

/** An import that fails: the version exists, and nothing of it can be built. */
export async function* importFails(world: World): Process<Job> {
  const by = userOf(world);
  const { organization } = templateOf(world);
  const { job } = yield* insertVersion(world, {
    organization,
    presets: [],
    agents: [],
    by,
    template: null,
  });
  yield* queueAndAcquire(world, job);
  yield* work(world, job, 6 * SECOND);
  const replica = world.replica();
  const at = replica.now();
  await replica.send([
    completeJob(job, { at, error: errorText(world, "terraform plan: exit status 1") }),
  ]);
  job.status = "failed";
  world.tally.ended(job, { build: null, at, failed: true, errorCode: null });
  return job;
}

/** A dry run: what would be built, without building it. */
export async function* dryRun(world: World, options: TemplateOptions = {}): Process<Job> {
  const { organization, version } = templateOf(world, options.template);
  const replica = world.replica();
  const initiator = userOf(world).id;
  const job = newJob(world, {
    type: "template_version_dry_run",
    organization,
    initiator,
    at: replica.now(),
  });
  await replica.send([insertJob(job, { template_version_id: version.id, ...canaryInput(world) })]);
  yield* queueAndAcquire(world, job);
  yield* work(world, job, 6 * SECOND);
  yield* completePlan(world, job, { version, presets: [] });
  return job;
}

/** Only the name changes, and no history is kept. */
export async function* renameTemplate(
  world: World,
  options: TemplateOptions = {},
): Process<Template> {
  const template = templateOf(world, options.template);
  const name = `${template.name.slice(0, 40).replace(/-r\d+$/, "")}-r${world.serial()}`;
  const replica = world.replica();
  yield 0;
  await replica.send([catalog.renameTemplate(template, name, replica.now())]);
  template.name = name;
  return template;
}

/** As Coder deletes: a mark, behind which the rows stay. */
export async function markDeleted(world: World, template: Template): Promise<void> {
  const replica = world.replica();
  await replica.send([catalog.deleteTemplate(template, replica.now())]);
  template.deleted = true;
}

/** A template is used, emptied and deleted, and another one takes its name at once. */
export async function* recreateTemplate(world: World): Process<Template> {
  const { organization, version } = templateOf(world);
  const spec = {
    organization,
    name: `scratch-${world.serial()}`,
    presets: [],
    agents: version.agents,
  };
  const first = yield* createTemplate(world, spec);
  yield* useAndRemove(world, first);
  await markDeleted(world, first);
  const second = yield* createTemplate(world, spec);
  yield* useAndRemove(world, second);
  world.templates.push(second);
  return second;
}

async function* useAndRemove(world: World, template: Template): Process {
  const workspace = newWorkspace(world, { template, owner: userOf(world) });
  using _reserved = hold(workspace);
  const { initiator } = yield* finish(world, yield* insertFirstBuild(world, workspace));
  yield 60 * SECOND;
  yield* finish(world, yield* insertBuild(world, { workspace, transition: "delete", initiator }));
}

interface Import extends Omit<TemplateSpec, "name"> {
  readonly by: User;
  readonly template: Template | null;
}

/** From the upload of a version to its presets. */
async function* importVersion(world: World, request: Import): Process<Version> {
  const { job, version } = yield* insertVersion(world, request);
  yield* queueAndAcquire(world, job);
  yield* work(world, job, world.random.between(3 * SECOND, 15 * SECOND));
  yield* completePlan(world, job, { version, presets: version.presets });
  return version;
}

/** One transaction: the import job, then the version it is for. */
async function* insertVersion(
  world: World,
  request: Import,
): Process<{ job: Job; version: Version }> {
  const { organization, presets, agents, by, template } = request;
  const replica = world.replica();
  const at = replica.now();
  const version = {
    id: world.random.uuid(),
    name: moniker(world.random, world.serial()).replaceAll("-", "_"),
    presets,
    agents,
  };
  const job = newJob(world, {
    type: "template_version_import",
    organization,
    initiator: by.id,
    at,
  });
  const input = {
    template_version_id: version.id,
    user_variable_values: [],
    ...canaryInput(world),
  };
  const statements = [
    insertJob(job, input),
    catalog.insertVersion(version, { template, organization, job: job.id, by, at }),
  ];
  yield* world.transaction({ replica, statements });
  return { job, version };
}

/** The end of an import or a dry run, in one transaction: resources and agents, presets, and the job last. */
async function* completePlan(
  world: World,
  job: Job,
  plan: { readonly version: Version; readonly presets: readonly Preset[] },
): Process {
  const replica = world.replica();
  const at = replica.now();
  const statements = [
    ...plannedRows(world, job, plan.version, at),
    ...plan.presets.map((preset) => catalog.insertPreset(preset, plan.version, at)),
    completeJob(job, { at, error: null }),
  ];
  yield* world.transaction({ replica, statements });
  job.status = "succeeded";
  world.tally.ended(job, { build: null, at, failed: false, errorCode: null });
}

/** Resources of a start and of a stop; agents for the start only. */
function plannedRows(world: World, job: Job, version: Version, at: Micros): Sql[] {
  const [start, stop] = [world.random.uuid(), world.random.uuid()];
  const planned = { job, type: "docker_container", name: "workspace", createdAt: at } as const;
  const agents = version.agents.map(({ name }) => {
    const token = world.options.canaries?.authToken ?? world.random.uuid();
    const row = {
      id: world.random.uuid(),
      name,
      resource: start,
      parent: null,
      createdAt: at,
      timeout: 120 * SECOND,
      token,
    };
    return insertAgent({ ...row, environment: { CODER_AGENT_TOKEN: token } });
  });
  return [
    insertResource({ ...planned, id: start, transition: "start" }),
    insertResource({ ...planned, id: stop, transition: "stop" }),
    ...agents,
  ];
}
