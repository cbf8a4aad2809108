// Misconfigurations of a database and of a role, each seeded, found, and healed by the fix as it is printed.

import { describe, expect, test } from "vitest";
import { PUBLISHED_COLUMNS } from "../../src/postgres/publication.ts";
import {
  examined,
  findingsOf,
  only,
  prepared,
  readColumns,
  runFix,
  short,
} from "./support/doctor.ts";

interface Case {
  readonly what: string;
  /** `ROLE` stands for the follower's role. */
  readonly seed: string;
  readonly check: string;
  readonly severity: "problem" | "risk";
  /** In the words of the problem. */
  readonly says: string;
}

const lists = (more: string): string =>
  `create publication firstlight for table
     workspace_builds (${PUBLISHED_COLUMNS.workspace_builds.join(", ")}),
     provisioner_jobs (${PUBLISHED_COLUMNS.provisioner_jobs.join(", ")}),
     workspace_agents (${PUBLISHED_COLUMNS.workspace_agents.join(", ")}${more})`;

const OURS: readonly Case[] = [
  {
    what: "no publication",
    seed: "drop publication firstlight",
    check: "publication",
    severity: "problem",
    says: "there is no publication firstlight",
  },
  {
    what: "a publication that lacks a table",
    seed: "alter publication firstlight drop table workspace_agents",
    check: "publication",
    severity: "problem",
    says: "lacks table workspace_agents",
  },
  {
    what: "a publication that lacks columns",
    seed: `alter publication firstlight drop table workspace_agents;
           alter publication firstlight add table workspace_agents (id, name)`,
    check: "publication",
    severity: "problem",
    says: "lacks columns of workspace_agents: created_at",
  },
  {
    what: "a row filter",
    seed: `alter publication firstlight drop table workspace_agents;
           alter publication firstlight add table workspace_agents where (not deleted)`,
    check: "publication",
    severity: "problem",
    says: "has a row filter on workspace_agents",
  },
  {
    what: "a publication of all tables",
    seed: "drop publication firstlight; create publication firstlight for all tables",
    check: "publication",
    severity: "problem",
    says: "publishes all tables",
  },
  {
    what: "a publication of the schema",
    seed: "drop publication firstlight; create publication firstlight for tables in schema public",
    check: "publication",
    severity: "problem",
    says: "publishes all tables",
  },
  {
    what: "a publication with a table more",
    seed: "alter publication firstlight add table users",
    check: "publication",
    severity: "problem",
    says: "has table users, which is not ours",
  },
  {
    what: "a publication without updates",
    seed: "alter publication firstlight set (publish = 'insert')",
    check: "publication",
    severity: "problem",
    says: "does not publish update and delete",
  },
  {
    what: "a publication that names a secret",
    seed: `drop publication firstlight; ${lists(", auth_token")}`,
    check: "publication",
    severity: "risk",
    says: "auth_token leave the server",
  },
  {
    what: "replica identity full",
    seed: "alter table workspace_agents replica identity full",
    check: "replica_identity",
    severity: "problem",
    says: "table workspace_agents has another replica identity",
  },
  {
    what: "replica identity nothing",
    seed: "alter table workspace_builds replica identity nothing",
    check: "replica_identity",
    severity: "problem",
    says: "table workspace_builds has another replica identity",
  },
];

const OTHERS: readonly Case[] = [
  {
    what: "another publication, of a table with replica identity full and a list",
    seed: `alter table users replica identity full; create publication other for table users (id, username)`,
    check: "publications",
    severity: "problem",
    says: "publication other makes every UPDATE and DELETE of users fail: its column list",
  },
  {
    what: "another publication, whose filter is not on the key",
    seed: "create publication other for table workspaces (id, name, deleted) where (not deleted)",
    check: "publications",
    severity: "problem",
    says: "publication other makes every UPDATE and DELETE of workspaces fail: its row filter",
  },
  {
    what: "another publication, whose list lacks the key",
    seed: "create publication other for table templates (name)",
    check: "publications",
    severity: "problem",
    says: "publication other makes every UPDATE and DELETE of templates fail: its column list lacks",
  },
  {
    what: "a publication of everything beside a table without a key",
    seed: "create table keyless (n int); create publication other for all tables",
    check: "publications",
    severity: "problem",
    says: "publication other makes every UPDATE and DELETE of keyless fail: the table has no replica identity",
  },
  {
    what: "another publication that names columns of Coder's",
    seed: "create publication other for table users (id, username, email)",
    check: "publications",
    severity: "risk",
    says: "publication other names columns of users: a migration of Coder",
  },
];

const ROLES: readonly Case[] = [
  {
    what: "a role that may not replicate",
    seed: "alter role ROLE with noreplication",
    check: "role",
    severity: "problem",
    says: "may not replicate",
  },
  {
    what: "a column that may not be read",
    seed: "revoke select (input) on provisioner_jobs from ROLE",
    check: "tables",
    severity: "problem",
    says: "provisioner_jobs: no right to read input",
  },
  {
    what: "a table that may not be read",
    seed: "revoke select on users from ROLE; revoke select (id, username) on users from ROLE",
    check: "tables",
    severity: "problem",
    says: "users: no right to read id, username",
  },
  {
    what: "all data of the server",
    seed: "grant pg_read_all_data to ROLE",
    check: "privileges",
    severity: "risk",
    says: "reads or writes all data of the server, as a member of pg_read_all_data",
  },
  {
    what: "all data by way of a group",
    seed: `create role ROLE_group; grant pg_write_all_data to ROLE_group; grant ROLE_group to ROLE`,
    check: "privileges",
    severity: "risk",
    says: "as a member of",
  },
  {
    what: "whole tables that may be read",
    seed: "grant select on workspace_agents to ROLE",
    check: "privileges",
    severity: "risk",
    says: "read workspace_agents.auth_token",
  },
  {
    what: "a secret that everybody may read",
    seed: "grant select (provisioner_state) on workspace_builds to public",
    check: "privileges",
    severity: "risk",
    says: "read workspace_builds.provisioner_state",
  },
  {
    what: "a secret that a group may read",
    seed: "create role ROLE_group; grant select (hashed_password) on users to ROLE_group; grant ROLE_group to ROLE",
    check: "privileges",
    severity: "risk",
    says: "read users.hashed_password",
  },
  {
    what: "a table that may be written",
    seed: "grant update on templates to ROLE",
    check: "privileges",
    severity: "risk",
    says: "write templates",
  },
];

describe.each([...OURS, ...OTHERS, ...ROLES])("$what", ({ seed, check, severity, says }) => {
  test("is found, and the fix heals it", async () => {
    await using scene = await prepared();
    await scene.admin.query(seed.replaceAll("ROLE", scene.role));
    const finding = only(await findingsOf(scene), check, says);
    expect(finding.severity).toBe(severity);
    await runFix(finding.fix, scene.admin);
    expect(short(await findingsOf(scene))).toEqual([]);
  });
});

test("a schema that may not be used is found in each table, and each fix is whole", async () => {
  await using scene = await prepared();
  await scene.admin.query(
    `revoke usage on schema public from public; revoke usage on schema public from ${scene.role}`,
  );
  const findings = await findingsOf(scene);
  expect(findings).toHaveLength(10);
  for (const { fix } of findings) await runFix(fix, scene.admin);
  expect(short(await findingsOf(scene))).toEqual([]);
});

describe("a role that is somebody else's", () => {
  test("a superuser is told to have a role of its own, which is then without a finding", async () => {
    await using scene = await prepared();
    const found = only(await findingsOf(scene.database), "privileges", "is a superuser");
    expect(found.severity).toBe("risk");
    await runFix(found.fix, scene.admin);
    expect(found.fix).toContain("-- then name firstlight instead of postgres in --database-url");
    expect(short(await findingsOf({ url: scene.database.urlAs("firstlight") }))).toEqual([]);
  });

  test("so is the owner of Coder's tables", async () => {
    await using scene = await prepared();
    await scene.admin.query(
      `alter table users owner to ${scene.role}; grant select (id, username) on users to ${scene.role}`,
    );
    const found = only(await findingsOf(scene), "privileges", "owns tables of Coder's");
    expect(found.problem).toContain("change and drop users");
    await runFix(found.fix, scene.admin);
    expect(short(await findingsOf({ url: scene.database.urlAs("firstlight") }))).toEqual([]);
  });
});

describe("notes", () => {
  test("of a database that is as it should be: names that coderd exports, and lists that block a migration, with the way out", async () => {
    await using scene = await prepared();
    const { findings, about } = await examined(scene);
    const notes = findings.filter(({ severity }) => severity === "note");
    expect(notes.map(({ check }) => check)).toEqual(["publication", "families"]);
    expect(about).toEqual([expect.stringMatching(/^server: Postgres 18\.\d+, a primary$/)]);
    const [list] = notes;
    const drop = "alter table workspace_agents drop column ready_at";
    await expect(scene.admin.query(drop)).rejects.toThrow(/depend/);
    expect(list?.fix).toContain("setup --whole-tables");
    await runFix(list?.fix ?? "", scene.admin);
    await scene.admin.query(`begin; ${drop}; rollback`);
    const after = (await examined(scene)).findings.filter(({ severity }) => severity === "note");
    expect(after[0]?.problem).toContain("publishes whole tables");
    await runFix(after[0]?.fix ?? "", scene.admin);
    expect(short((await examined(scene)).findings)).toEqual(short(findings));
  });
});

test("nothing is written: neither slots nor publications nor tables nor settings", async () => {
  await using scene = await prepared();
  await scene.admin.query("alter publication firstlight drop table workspace_agents");
  const everything = async () => {
    const { rows } = await scene.admin.query<{ all: string }>(`
      select concat_ws(' ', (select json_agg(s.slot_name order by 1) from pg_replication_slots as s where s.database = current_database()),
        (select json_agg(array[p.oid::text, p.xmin::text] order by p.oid) from pg_publication as p),
        (select json_agg(array[c.oid::text, c.xmin::text] order by c.oid) from pg_class as c where c.oid > 16383),
        (select json_agg(array[d.setdatabase::text, d.setrole::text] order by 1) from pg_db_role_setting as d)) as all`);
    return rows[0]?.all;
  };
  const before = await everything();
  await findingsOf(scene);
  expect(await everything()).toBe(before);
  expect(readColumns("users")).toBe("id, username");
});
