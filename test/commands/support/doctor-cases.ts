// What can be wrong with a publication and with a role, as SQL.

import { PUBLISHED_COLUMNS } from "../../../src/postgres/publication.ts";

export interface Case {
  readonly what: string;
  /** `ROLE` stands for the follower's role. */
  readonly seed: string;
  readonly check: string;
  readonly severity: "problem" | "risk";
  /** In the words of the problem. */
  readonly says: string;
  /** A statement of Coder's that fails until it is healed. */
  readonly fails?: string;
}

const lists = (more: string): string =>
  `create publication firstlight for table
     workspace_builds (${PUBLISHED_COLUMNS.workspace_builds.join(", ")}),
     provisioner_jobs (${PUBLISHED_COLUMNS.provisioner_jobs.join(", ")}),
     workspace_agents (${PUBLISHED_COLUMNS.workspace_agents.join(", ")}${more})`;

export const OURS: readonly Case[] = [
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

export const OTHERS: readonly Case[] = [
  {
    what: "another publication, of a table with replica identity full and a list",
    seed: `alter table users replica identity full; drop publication if exists other; create publication other for table users (id, username)`,
    check: "publications",
    severity: "problem",
    says: "publication other makes every UPDATE and DELETE of users fail: its column list",
    fails: "update users set username = ''",
  },
  {
    what: "another publication, whose filter is not on the key",
    seed: "drop publication if exists other; create publication other for table workspaces (id, name, deleted) where (not deleted)",
    check: "publications",
    severity: "problem",
    says: "publication other makes every UPDATE and DELETE of workspaces fail: its row filter",
    fails: "update workspaces set name = ''",
  },
  {
    what: "another publication, whose list lacks the key",
    seed: "drop publication if exists other; create publication other for table templates (name)",
    check: "publications",
    severity: "problem",
    says: "publication other makes every UPDATE and DELETE of templates fail: its column list lacks",
    fails: "delete from templates",
  },
  {
    what: "a publication of everything beside a table without a key",
    seed: "create table keyless (n int); drop publication if exists other; create publication other for all tables",
    check: "publications",
    severity: "problem",
    says: "publication other makes every UPDATE and DELETE of keyless fail: the table has no replica identity",
    fails: "update keyless set n = 1",
  },
  {
    what: "another publication that names columns of Coder's",
    seed: "drop publication if exists other; create publication other for table users (id, username, email)",
    check: "publications",
    severity: "risk",
    says: "publication other names columns of users: a migration of Coder",
  },
];

export const ROLES: readonly Case[] = [
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
    seed: "create role ROLE_readers; grant select (hashed_password) on users to ROLE_readers; grant ROLE_readers to ROLE",
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
