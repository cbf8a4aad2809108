// What differs from one Postgres service to the next: how logical decoding is switched on, how a role may replicate, who may
// connect from where. Text only, from the services' own pages; docs/providers.md names them. Nothing here was run on a service,
// but every statement runs on an ordinary Postgres, which a test shows.

import pg from "pg";

export const PROVIDERS = ["rds", "aurora", "cloudsql", "azure", "cnpg", "neon"] as const;
export type ProviderName = (typeof PROVIDERS)[number];

export interface Names {
  /** The role that follows, not quoted. */
  readonly role: string;
  /** Coder's database, not quoted. */
  readonly database: string;
}

/** Lines: comments where they begin with `--`, else SQL. */
type Lines = readonly string[];

export interface Provider {
  readonly title: string;
  /** Switches logical decoding on. */
  readonly decoding: Lines;
  /** Creates the role that may replicate, without a password. */
  readonly role: (names: Names) => Lines;
  /** Says who may connect from where. */
  readonly access: (names: Names) => Lines;
  /** Bounds what a slot may hold back. */
  readonly limit: Lines;
  /** What a standby needs beyond that, for its own administrator. */
  readonly standby: Lines;
}

const quoted = ({ role }: Names): string => pg.escapeIdentifier(role);

const replicating = (names: Names): Lines => [
  `create role ${quoted(names)} with login replication;`,
  `--    Then give the role a password, e.g. in psql: \\password ${quoted(names)}`,
];

/** For roles that replicate by a membership, as superusers of the service may not give the attribute. */
const member = (names: Names): Lines => [
  `create role ${quoted(names)} with login;`,
  `grant rds_replication to ${quoted(names)};`,
  `--    Then give the role a password, e.g. in psql: \\password ${quoted(names)}`,
];

/** Words that mean something else in pg_hba.conf unless they are quoted. */
const HBA_WORDS = ["all", "replication", "sameuser", "samerole", "samegroup"];
const inHba = (name: string): string =>
  /^[a-z_][a-z0-9_]*$/.test(name) && !HBA_WORDS.includes(name) ? name : pg.escapeIdentifier(name);

/**
 * Lines of pg_hba.conf, first match wins. Logical replication connects to a database by its name; the word `replication` stands
 * for physical replication alone, and `all` does not include that.
 */
export function hbaLines({ role, database }: Names): Lines {
  const user = inHba(role);
  return [
    `hostssl ${inHba(database)} ${user} 10.0.0.0/24 scram-sha-256`,
    `host all ${user} all reject`,
    `host replication ${user} all reject`,
  ];
}

const BY_NETWORK =
  "--    pg_hba.conf is the service's own here: let only the address of Firstlight in by";

export const OWN_SERVER: Provider = {
  title: "",
  decoding: [
    "--    wal_level takes effect at the next restart. For a managed service see `setup --provider`.",
    "alter system set wal_level = 'logical';",
  ],
  role: replicating,
  access: (names) => [
    "--    In pg_hba.conf, above all lines that match more; with the address that Firstlight connects from. Logical replication",
    "--    connects to the database by its name: a line for `replication` is for physical replication, which is not needed.",
    ...hbaLines(names).map((line) => `--      ${line}`),
    "--    Then: select pg_reload_conf();",
  ],
  limit: [
    "--    What a slot may hold back is unlimited by default. A limit is for all slots, those of standbys too, e.g.:",
    "--      alter system set max_slot_wal_keep_size = '50GB'; select pg_reload_conf();",
  ],
  standby: [
    "--      alter system set hot_standby_feedback = on;",
    "--      alter system set primary_slot_name = 'standby';",
    "--      select pg_reload_conf();",
    "--    after this on the primary: select pg_create_physical_replication_slot('standby');",
    "--    wal_level is logical there, too, after a restart (the primary first): alter system set wal_level = 'logical';",
    "--    The pg_hba.conf that counts is the standby's. Roles, grants and the publication come from the primary by themselves.",
  ],
};

const ON_SERVICES: Readonly<Record<ProviderName, Provider>> = {
  rds: {
    title: "Amazon RDS",
    decoding: [
      "--    In a DB parameter group of its own, then reboot: rds.logical_replication = 1. It sets wal_level.",
    ],
    role: member,
    access: () => [`${BY_NETWORK} a security group. rds.force_ssl = 1 demands TLS.`],
    limit: [
      "--    What a slot may hold back: max_slot_wal_keep_size where the parameter group offers it, for all slots; and --max-slot-lag.",
    ],
    standby: [
      "--    A read replica (16.1 or newer) takes rds.logical_replication = 1 and hot_standby_feedback = 1 in its own parameter",
      "--    group, and a reboot.",
    ],
  },
  aurora: {
    title: "Amazon Aurora",
    decoding: [
      "--    In the DB cluster parameter group, then reboot the writer: rds.logical_replication = 1. It sets wal_level.",
    ],
    role: member,
    access: () => [`${BY_NETWORK} a security group. rds.force_ssl = 1 demands TLS.`],
    limit: ["--    What a slot may hold back is bounded by --max-slot-lag."],
    standby: [
      "--    Aurora's replicas share the writer's storage and are no standbys: follow the writer (cluster) endpoint.",
    ],
  },
  cloudsql: {
    title: "Google Cloud SQL",
    decoding: [
      "--    The flag cloudsql.logical_decoding = on; it restarts the instance. It sets wal_level. The command replaces all flags,",
      "--    so name those that are set, too:",
      "--      gcloud sql instances patch INSTANCE --database-flags=cloudsql.logical_decoding=on",
      "--    Where you may not give REPLICATION because you lack it, take it first: alter role current_user with replication;",
    ],
    role: replicating,
    access: () => [`${BY_NETWORK} private IP or authorised networks, and demand TLS.`],
    limit: [
      "--    What a slot may hold back is bounded by --max-slot-lag, and by the flag max_slot_wal_keep_size where it is offered.",
    ],
    standby: [
      "--    A read replica (16 or newer) takes the flag cloudsql.logical_decoding = on, too, and hot_standby_feedback = on.",
    ],
  },
  azure: {
    title: "Azure Database for PostgreSQL, flexible server",
    decoding: [
      "--    The server parameter wal_level = logical, then restart:",
      "--      az postgres flexible-server parameter set -g GROUP -s SERVER --name wal_level --value logical",
      "--      az postgres flexible-server restart -g GROUP -n SERVER",
      "--    Who gives REPLICATION needs it.",
      "alter role current_user with replication;",
    ],
    role: replicating,
    access: () => [`${BY_NETWORK} a private network or firewall rules.`],
    limit: [
      "--    max_slot_wal_keep_size can not be set here (-1, unlimited): --max-slot-lag is what protects the disk while Firstlight runs.",
    ],
    standby: ["--    Follow the primary: nobody has tried a read replica of this service yet."],
  },
  cnpg: {
    title: "CloudNativePG",
    decoding: [
      "--    wal_level is logical already, and ALTER SYSTEM is not for its clusters. The role belongs into the manifest, with its",
      "--    password in a secret of type kubernetes.io/basic-auth. In the Cluster:",
    ],
    role: (names) => cnpgManifest(names).map((line) => `--      ${line}`),
    access: () => [
      "--    pg_hba of the manifest is in front of the operator's own `host all all all`, so these lines count.",
    ],
    limit: [
      "--    On a failover the slot is not on the new primary unless it is synchronised (17 or newer): Firstlight then reads the tables once.",
    ],
    standby: [
      "--    The service NAME-ro leads to any replica, and a slot is on one: follow NAME-rw.",
    ],
  },
  neon: {
    title: "Neon",
    decoding: [
      "--    In the project's settings: Logical Replication, Enable. It restarts all computes, and can not be undone.",
      "--    Connect to the direct host, not to the one with -pooler in its name.",
      "--    Roles of the console, the CLI and the API may replicate (and much more: neon_superuser). If the second statement is",
      "--    refused, make the role there.",
    ],
    role: (names) => [
      `create role ${quoted(names)} with login;`,
      `alter role ${quoted(names)} with replication;`,
      `--    Then give the role a password, e.g. in psql: \\password ${quoted(names)}`,
    ],
    access: () => [`${BY_NETWORK} IP Allow.`],
    limit: [
      "--    Neon removes slots that are not read for a time (its pages say 75 minutes, later 40 hours): Firstlight then reads the tables once.",
      "--    A branch that is restored loses its slots, too.",
    ],
    standby: ["--    Follow the primary: nobody has tried a read replica of this service yet."],
  },
};

export function providerOf(name: ProviderName | undefined): Provider {
  return name === undefined ? OWN_SERVER : ON_SERVICES[name];
}

/** The part of a CloudNativePG Cluster that concerns us, as YAML. */
export function cnpgManifest(names: Names): Lines {
  const value = JSON.stringify(names.role);
  return [
    "spec:",
    "  managed:",
    "    roles:",
    `      - name: ${value}`,
    "        ensure: present",
    "        login: true",
    "        replication: true",
    "        passwordSecret:",
    "          name: firstlight-database",
    "  postgresql:",
    "    parameters:",
    '      max_slot_wal_keep_size: "50GB"',
    '      hot_standby_feedback: "on"',
    "    pg_hba:",
    ...hbaLines(names).map((line) => `      - ${JSON.stringify(line)}`),
  ];
}
