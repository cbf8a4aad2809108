// Hand-made Coder rows, one INSERT each, for tests that state exactly which rows there are. The smallest rows that the
// schema accepts; whatever matters to a test is an argument.

import { randomUUID } from "node:crypto";
import pg from "pg";
import { SECOND, formatTimestamptz, parseTimestamptz } from "../../src/change/micros.ts";
import { PREBUILDS_USER, type Transition, type Uuid } from "../../src/change/row.ts";
import { createDatabase } from "./database.ts";

/** When the first row was made, in microseconds since the Unix epoch. */
export const START = parseTimestamptz("2026-08-21 10:00:00.123456+00");

/** A time as text, this many seconds after `START`. */
export function at(seconds: number): string {
  return formatTimestamptz(START + Math.round(seconds * SECOND));
}

/** The columns of a job that decide how it ended. Default: pending. */
export interface JobColumns {
  readonly started_at?: string;
  readonly canceled_at?: string;
  readonly completed_at?: string;
  readonly error?: string;
  readonly error_code?: string;
  readonly worker_id?: Uuid;
  readonly input?: string;
}

const worker = { started_at: at(5), worker_id: randomUUID() };

/** Job rows as Coder leaves them. */
export const JOBS = {
  pending: {},
  running: worker,
  canceling: { ...worker, canceled_at: at(20) },
  succeeded: { ...worker, completed_at: at(30) },
  failed: { ...worker, completed_at: at(30), error: "terraform apply: exit status 1" },
  canceledWhilePending: { canceled_at: at(20), completed_at: at(20) },
} satisfies Record<string, JobColumns>;

export interface BuildOptions {
  readonly job?: JobColumns;
  readonly workspace?: Uuid;
  readonly number?: number;
  readonly transition?: Transition;
  readonly initiator?: Uuid;
  readonly preset?: Uuid;
  readonly reason?: string;
  /** What Coder writes into the job: 1 creates a prebuild, 2 claims one. Default: 1 by the prebuilds user, else none. */
  readonly stage?: 1 | 2;
  /** Seconds after `START`. */
  readonly created?: number;
}

export interface AgentOptions {
  readonly name?: string;
  /** Seconds after `START`. */
  readonly created?: number;
  /** Seconds after `START`; absent: never connected. */
  readonly connected?: number;
  readonly parent?: Uuid;
  readonly deleted?: boolean;
  /** Seconds that it has to connect. Default: any time. */
  readonly timeout?: number;
  readonly lifecycle?: string;
  /** Seconds after `START`; absent: it has not been ready. */
  readonly ready?: number;
}

interface HandMadeIds {
  readonly organization: Uuid;
  readonly alice: Uuid;
  readonly template: Uuid;
  readonly version: Uuid;
  readonly large: Uuid;
}

type Values = Readonly<Record<string, unknown>>;

/** Makes rows for one organization; starts with user `alice`, the prebuilds user, template `docker` and preset `large`. */
export class HandMade {
  readonly organization: Uuid;
  readonly alice: Uuid;
  readonly template: Uuid;
  readonly version: Uuid;
  readonly large: Uuid;
  readonly #client: pg.Client;
  #workspaces = 0;

  private constructor(client: pg.Client, ids: Partial<HandMadeIds> = {}) {
    this.#client = client;
    this.organization = ids.organization ?? randomUUID();
    this.alice = ids.alice ?? randomUUID();
    this.template = ids.template ?? randomUUID();
    this.version = ids.version ?? randomUUID();
    this.large = ids.large ?? randomUUID();
  }

  /** Goes on in a database where `on` has been. */
  static async again(client: pg.Client): Promise<HandMade> {
    const { rows } = await client.query<HandMadeIds & { workspaces: number }>(
      `select t.organization_id as organization, t.created_by as alice, t.id as template, t.active_version_id as version,
         p.id as large, (select count(*)::int from workspaces) as workspaces
       from templates t join template_version_presets p on p.template_version_id = t.active_version_id`,
    );
    const made = new HandMade(client, rows[0]);
    made.#workspaces = rows[0]?.workspaces ?? 0;
    return made;
  }

  static async on(client: pg.Client): Promise<HandMade> {
    const made = new HandMade(client);
    await made.insert("organizations", {
      ...made.#times(0),
      id: made.organization,
      name: "acme",
      description: "",
      display_name: "Acme",
    });
    await made.user(made.alice, "alice");
    await made.user(PREBUILDS_USER, "prebuilds");
    await made.newTemplate("docker", { id: made.template, version: made.version });
    await made.insert("template_version_presets", {
      id: made.large,
      template_version_id: made.version,
      name: "large",
    });
    return made;
  }

  async user(id: Uuid, username: string): Promise<void> {
    await this.insert("users", {
      ...this.#times(0),
      id,
      username,
      email: `${username}@example.com`,
      hashed_password: Buffer.of(),
    });
  }

  async newTemplate(name: string, ids: { id: Uuid; version: Uuid }): Promise<void> {
    const common = {
      ...this.#times(0),
      organization_id: this.organization,
      created_by: this.alice,
    };
    await this.insert("templates", {
      ...common,
      id: ids.id,
      name,
      provisioner: "terraform",
      active_version_id: ids.version,
    });
    await this.insert("template_versions", {
      ...common,
      id: ids.version,
      template_id: ids.id,
      name: "v1",
      readme: "",
      job_id: randomUUID(),
    });
  }

  /** A workspace named `dev-1`, `dev-2`, …; owned by alice and of template `docker` unless told. */
  async workspace(
    options: { owner?: Uuid; template?: Uuid; deleted?: boolean } = {},
  ): Promise<Uuid> {
    const id = randomUUID();
    this.#workspaces += 1;
    await this.insert("workspaces", {
      ...this.#times(0),
      id,
      owner_id: options.owner ?? this.alice,
      organization_id: this.organization,
      template_id: options.template ?? this.template,
      deleted: options.deleted ?? false,
      name: `dev-${this.#workspaces}`,
    });
    return id;
  }

  async job(type: string, columns: JobColumns = {}, created = 0): Promise<Uuid> {
    const id = randomUUID();
    await this.insert("provisioner_jobs", {
      ...this.#times(created),
      id,
      organization_id: this.organization,
      initiator_id: this.alice,
      provisioner: "terraform",
      storage_method: "file",
      type,
      input: "{}",
      file_id: randomUUID(),
      ...columns,
    });
    return id;
  }

  /** A build and its job; by default build 1, start, by alice, in a new workspace, without preset. */
  async build(options: BuildOptions = {}): Promise<{ workspace: Uuid; build: Uuid; job: Uuid }> {
    const workspace = options.workspace ?? (await this.workspace());
    const { stage = options.initiator === PREBUILDS_USER ? 1 : undefined } = options;
    const input = JSON.stringify({ prebuilt_workspace_stage: stage });
    const job = await this.job("workspace_build", { input, ...options.job }, options.created);
    const build = randomUUID();
    await this.insert("workspace_builds", {
      ...this.#times(options.created ?? 0),
      id: build,
      workspace_id: workspace,
      template_version_id: this.version,
      build_number: options.number ?? 1,
      transition: options.transition ?? "start",
      initiator_id: options.initiator ?? this.alice,
      job_id: job,
      template_version_preset_id: options.preset ?? null,
      reason: options.reason ?? "initiator",
    });
    return { workspace, build, job };
  }

  /** An agent in a resource of its own; by default named `main`, created at `START`. */
  async agent(job: Uuid, options: AgentOptions = {}): Promise<Uuid> {
    const resource = randomUUID();
    await this.insert("workspace_resources", {
      id: resource,
      created_at: at(options.created ?? 0),
      job_id: job,
      transition: "start",
      type: "docker_container",
      name: "workspace",
    });
    const id = randomUUID();
    await this.insert("workspace_agents", {
      ...this.#times(options.created ?? 0),
      id,
      name: options.name ?? "main",
      first_connected_at: options.connected === undefined ? null : at(options.connected),
      lifecycle_state: options.lifecycle ?? "created",
      ready_at: options.ready === undefined ? null : at(options.ready),
      resource_id: resource,
      auth_token: randomUUID(),
      architecture: "amd64",
      operating_system: "linux",
      parent_id: options.parent ?? null,
      deleted: options.deleted ?? false,
      connection_timeout_seconds: options.timeout ?? 0,
    });
    return id;
  }

  /** An agent connects for the first time, so many seconds after `START`. */
  async connects(agent: Uuid, seconds: number): Promise<void> {
    await this.#client.query(
      "update workspace_agents set first_connected_at = $2, last_connected_at = $2 where id = $1",
      [agent, at(seconds)],
    );
  }

  /** As Coder makes a build with its job. */
  async inOneTransaction<T>(work: () => Promise<T>): Promise<T> {
    await this.#client.query("begin");
    const result = await work();
    await this.#client.query("commit");
    return result;
  }

  async insert(table: string, values: Values): Promise<void> {
    const columns = Object.keys(values).map((name) => pg.escapeIdentifier(name));
    const parameters = columns.map((_, index) => `$${index + 1}`);
    await this.#client.query(
      `insert into ${pg.escapeIdentifier(table)} (${columns.join(", ")}) values (${parameters.join(", ")})`,
      Object.values(values),
    );
  }

  #times(seconds: number): Values {
    return { created_at: at(seconds), updated_at: at(seconds) };
  }
}

/** Runs a test on a database of its own with the first rows in it. */
export async function withRows(
  check: (made: HandMade, client: pg.Client) => Promise<void>,
): Promise<void> {
  await using database = await createDatabase();
  const client = await database.client();
  await check(await HandMade.on(client), client);
}
