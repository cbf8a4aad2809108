// Going on in a database that an earlier simulation filled: what it deployed is read back. Its workspaces are left as they
// are, as after an outage of everything but the database: their agents report no more, their builds stay where they were.

import { Client } from "pg";
import { PREBUILDS_USER } from "../../change/row.ts";
import { type Micros } from "../../change/micros.ts";
import { must } from "../../errors.ts";
import { agentsOf } from "./deployment.ts";
import type { Organization, Preset, Template, User } from "./model.ts";
import type { World } from "./world.ts";

/** What an earlier simulation left: how much of it, and its newest time. Null: there is none. */
export interface Left {
  readonly workspaces: number;
  readonly newest: Micros;
}

interface TemplateRecord {
  id: string;
  organization_id: string;
  name: string;
  version_id: string;
  version_name: string;
  presets: Preset[] | null;
}

/** Looks for an earlier simulation in a database that holds Coder's schema. */
export async function whatIsLeft(url: string): Promise<Left | null> {
  return withClient(url, async (client) => {
    const { rows } = await client.query<{
      organizations: string;
      workspaces: string;
      newest: string | null;
    }>(
      `select (select count(*) from organizations) as organizations, (select count(*) from workspaces) as workspaces,
         (select (extract(epoch from max(created_at)) * 1000000)::bigint from provisioner_jobs) as newest`,
    );
    const row = must(rows[0], "no count");
    return row.organizations === "0"
      ? null
      : { workspaces: Number(row.workspaces), newest: Number(row.newest ?? 0) };
  });
}

/** Reads organizations, people, templates and presets into the world, in place of seeding them. */
export async function adoptDeployment(world: World, left: Left): Promise<void> {
  await withClient(world.options.url, async (client) => {
    const organizations = await client.query<Organization>(
      "select id, name from organizations order by created_at, id",
    );
    const users = await client.query<User>(
      "select id, username from users where not deleted order by created_at, id",
    );
    const templates = await client.query<TemplateRecord>(
      `select templates.id, templates.organization_id, templates.name, versions.id as version_id, versions.name as version_name,
         (select json_agg(json_build_object('id', presets.id, 'name', presets.name, 'desired', presets.desired_instances))
          from template_version_presets as presets where presets.template_version_id = versions.id) as presets
       from templates join template_versions as versions on versions.id = templates.active_version_id
       where not templates.deleted order by templates.created_at, templates.id`,
    );
    world.organizations.push(...organizations.rows);
    world.users.push(...users.rows.filter(({ id }) => id !== PREBUILDS_USER));
    world.prebuilds = must(
      users.rows.find(({ id }) => id === PREBUILDS_USER),
      "the prebuilds user is gone",
    );
    world.templates.push(...templates.rows.map((record) => templateOf(world, record)));
  });
  world.skipSerials(left.workspaces * 10);
}

function templateOf(world: World, record: TemplateRecord): Template {
  const organization = must(
    world.organizations.find(({ id }) => id === record.organization_id),
    "a template without its organization",
  );
  return {
    id: record.id,
    organization,
    name: record.name,
    deleted: false,
    version: {
      id: record.version_id,
      name: record.version_name,
      presets: record.presets ?? [],
      agents: agentsOf(record.name),
    },
  };
}

async function withClient<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url, application_name: "coderd" });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
