// What exists before the traffic: two organizations, people, the prebuilds user, templates with presets (through real imports).

import type { Uuid } from "../../change/row.ts";
import { PREBUILDS_USER } from "../../change/row.ts";
import { must } from "../../errors.ts";
import type { AgentSpec, Organization, Preset, User } from "./model.ts";
import { ODD, ORGANIZATIONS, PRESETS, USERNAMES } from "./names.ts";
import { insertOrganization, insertUser } from "./statements/catalog.ts";
import type { Process } from "./timeline.ts";
import { createTemplate } from "./workflows/templates.ts";
import type { World } from "./world.ts";

interface Blueprint {
  /** Index into ORGANIZATIONS. Two templates share a name across organizations. */
  readonly organization: number;
  readonly name: string;
  readonly agents: readonly AgentSpec[];
  /** Preset names, each with the size of its pool of prebuilt workspaces (null: no pool). */
  readonly presets: readonly (readonly [name: string, desired: number | null])[];
}

const MAIN: AgentSpec = { name: "main", subAgents: [] };

const BLUEPRINTS: readonly Blueprint[] = [
  { organization: 0, name: "docker", agents: [MAIN], presets: [] },
  {
    organization: 0,
    name: "kubernetes",
    agents: [MAIN, { name: "sidecar", subAgents: [] }],
    presets: [
      [PRESETS[0], 2],
      [PRESETS[1], null],
    ],
  },
  {
    organization: 0,
    name: "devcontainer",
    agents: [{ name: "dev", subAgents: ["frontend", "backend"] }],
    presets: [[PRESETS[2], 1]],
  },
  { organization: 0, name: "batch", agents: [], presets: [[PRESETS[0], null]] },
  {
    organization: 1,
    name: "docker",
    agents: [MAIN],
    presets: [
      [PRESETS[3], 1],
      [PRESETS[4], null],
    ],
  },
];

const ODD_BLUEPRINT: Blueprint = {
  organization: 1,
  name: ODD.template,
  agents: [{ name: ODD.agent, subAgents: [] }],
  presets: [[PRESETS[1], null]],
};

/** What a template of this name declares; a renamed one has one agent. */
export function agentsOf(template: string): readonly AgentSpec[] {
  return BLUEPRINTS.find(({ name }) => name === template)?.agents ?? [MAIN];
}

/** Seeds the deployment. Call once, before any workflow. */
export async function* seedDeployment(world: World): Process {
  yield* seedPeople(world);
  const { oddNames } = world.options;
  for (const blueprint of oddNames ? [...BLUEPRINTS, ODD_BLUEPRINT] : BLUEPRINTS) {
    const presets = blueprint.presets.map(([name, desired]): Preset => ({
      id: world.random.uuid(),
      name,
      desired,
    }));
    const organization = must(world.organizations[blueprint.organization], "no such organization");
    world.templates.push(yield* createTemplate(world, { ...blueprint, organization, presets }));
  }
}

async function* seedPeople(world: World): Process {
  const replica = world.replica();
  const at = replica.now();
  const id = (): Uuid => world.random.uuid();
  const organizations = ORGANIZATIONS.map((name): Organization => ({ id: id(), name }));
  const usernames = world.options.oddNames ? [...USERNAMES, ODD.username] : USERNAMES;
  const users = usernames.map((username): User => ({ id: id(), username }));
  const prebuilds: User = { id: PREBUILDS_USER, username: "prebuilds" };
  const passwordHash = Buffer.from(world.random.hex(60));
  yield* world.transaction({
    replica,
    statements: [
      ...organizations.map((organization, i) =>
        insertOrganization(organization, { isDefault: i === 0, at }),
      ),
      ...[prebuilds, ...users].map((user) => insertUser(user, { passwordHash, at })),
    ],
  });
  world.organizations.push(...organizations);
  world.users.push(...users);
  world.prebuilds = prebuilds;
}
