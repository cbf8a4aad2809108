import { expect, test } from "vitest";
import { type Config, type ConfigInput, OPTIONS, parseConfig, UsageError } from "../src/config.ts";

const URL_TEXT = "postgres://fl:s3cret@db.example:5433/coder";

function parse(
  flags: ConfigInput["flags"] = {},
  env: ConfigInput["env"] = {},
  files: Record<string, string> = {},
): Config {
  return parseConfig({ flags, env, readFile: reader(files) });
}

function reader(files: Record<string, string>): (path: string) => string {
  return (path) => {
    const text = files[path];
    if (text === undefined) throw new Error(`ENOENT ${path}`);
    return text;
  };
}

function mistakes(
  flags: ConfigInput["flags"] = {},
  env: ConfigInput["env"] = {},
  files = {},
): readonly string[] {
  try {
    parse(flags, env, files);
  } catch (error) {
    if (error instanceof UsageError) return error.mistakes;
    throw error;
  }
  return [];
}

test("nothing but a database URL is needed", async () => {
  const { database, ...rest } = parse({}, { DATABASE_URL: URL_TEXT });
  expect(rest).toEqual({
    databaseConfigured: true,
    listen: { host: "127.0.0.1", port: 9788 },
    slot: "firstlight",
    publication: "firstlight",
    statePath: "./data/firstlight.db",
    baseline: "tables",
    onGap: "baseline",
    temporarySlot: false,
    verifyEveryMs: null,
    readEveryMs: 5_000,
    metricPrefix: "coderd_",
    agentLabels: ["template_name", "agent_name", "username", "workspace_name"],
    families: expect.arrayContaining(["workspace_creation_attempts_total"]),
    seriesLimit: 100_000,
    seriesRetireAfterMs: 7 * 86_400_000,
    logLevel: "info",
    logFormat: "json",
  });
  expect(await database()).toMatchObject({
    host: "db.example",
    port: 5433,
    user: "fl",
    password: "s3cret",
    database: "coder",
    application_name: "firstlight",
  });
});

test("a flag wins over its variable, and ours over DATABASE_URL", async () => {
  const env = {
    FIRSTLIGHT_SLOT: "of_env",
    FIRSTLIGHT_DATABASE_URL: "postgres://a@env/x",
    DATABASE_URL: "postgres://a@other/x",
  };
  expect(parse({}, env).slot).toBe("of_env");
  expect(parse({ slot: "of_flag" }, env).slot).toBe("of_flag");
  expect((await parse({}, env).database()).host).toBe("env");
  expect((await parse({ databaseUrl: "postgres://a@flag/x" }, env).database()).host).toBe("flag");
});

test("an empty variable counts as not set, but for the metric prefix", () => {
  const config = parse(
    {},
    { DATABASE_URL: URL_TEXT, FIRSTLIGHT_SLOT: "", FIRSTLIGHT_METRIC_PREFIX: "" },
  );
  expect(config.slot).toBe("firstlight");
  expect(config.metricPrefix).toBe("");
});

test("the file of the URL is read again at each connection", async () => {
  const files: Record<string, string> = { "/run/url": "postgres://fl:first@db/coder\n" };
  const config = parse(
    {},
    { FIRSTLIGHT_DATABASE_URL_FILE: "/run/url", DATABASE_URL: "postgres://x@other/x" },
    files,
  );
  expect((await config.database()).password).toBe("first");
  files["/run/url"] = "postgres://fl:second@db/coder\n";
  expect((await config.database()).password).toBe("second");
  delete files["/run/url"];
  await expect(config.database()).rejects.toMatchObject({
    name: "Transient",
    reason: "secret_unreadable",
  });
});

test("all mistakes are told at once, each with its name and what is allowed", () => {
  const flags = {
    listen: "9788",
    slot: "First-Light",
    publication: "1st",
    state: "",
    metricPrefix: "1x",
    agentLabels: "username,username",
    logFormat: "xml",
  };
  const env = {
    FIRSTLIGHT_LOG_LEVEL: "loud",
    FIRSTLIGHT_SLOTS: "x",
    FIRSTLIGHT_QUITE_ANOTHER: "x",
    DATABASE_URL: "mysql://u:pw@h/d",
  };
  expect(mistakes(flags, env)).toEqual([
    '--listen "9788": must be host:port, e.g. 127.0.0.1:9788, [::1]:9788, or :9788 for all addresses',
    '--slot "First-Light": must be 1 to 63 of a-z, 0-9 and _',
    '--publication "1st": must be 1 to 63 of a-z, 0-9 and _, and not begin with a digit',
    '--state "": must be the path of a file',
    '--metric-prefix "1x": must be the beginning of a metric name, e.g. coderd_, or empty',
    '--agent-labels "username,username": must be one or more of template_name, agent_name, username, workspace_name, separated by commas, each once',
    'FIRSTLIGHT_LOG_LEVEL "loud": must be one of fatal, error, warn, info, debug, trace',
    '--log-format "xml": must be json or text',
    "DATABASE_URL: must begin with postgres:// or postgresql://",
    "FIRSTLIGHT_SLOTS: is not known; did you mean FIRSTLIGHT_SLOT?",
    "FIRSTLIGHT_QUITE_ANOTHER: is not known",
  ]);
});

test.each([
  [undefined, 7 * 86_400_000],
  ["never", null],
  ["off", null],
  ["1s", 1_000],
  ["36h", 129_600_000],
  ["36500d", 3_153_600_000_000],
])("how long series of deleted workspaces stay: %s", (seriesRetireAfter, ms) => {
  const { seriesRetireAfterMs } = parse({ seriesRetireAfter, databaseUrl: URL_TEXT });
  expect(seriesRetireAfterMs).toBe(ms);
});

test.each(["0s", "0", "7", "-7d", "1.5d", "1w", "36501d", "9999999d", ""])(
  "not how long series of deleted workspaces stay: %j",
  (seriesRetireAfter) => {
    expect(mistakes({ seriesRetireAfter, databaseUrl: URL_TEXT })).toEqual([
      `--series-retire-after ${JSON.stringify(seriesRetireAfter)}: must be never, or from 1s to 36500d, e.g. 36h or 7d`,
    ]);
  },
);

const PREBUILDS = ["created", "failed", "claimed"].map((of) => `prebuilt_workspaces_${of}_total`);
const chosen = (families?: string): readonly string[] =>
  parse({ databaseUrl: URL_TEXT, families }).families;

test("families: a list that is read from left to right, kept in the order of the catalog", () => {
  const all = chosen("all");
  const off = [
    "workspace_builds_enqueued_total",
    "provisionerd_workspace_build_timings_seconds",
    "provisioner_job_queue_wait_seconds",
    "provisionerd_jobs_current",
    "template_workspace_build_duration_seconds",
  ];
  expect(chosen()).toEqual(all.filter((name) => !off.includes(name)));
  expect(chosen(`default,${off.join(",")}`)).toEqual(all);
  expect(chosen(PREBUILDS.toReversed().join(" , "))).toEqual(PREBUILDS);
  expect(chosen("all,-workspace_creation_attempts_total")).toEqual(all.slice(1));
  const first = "workspace_creation_attempts_total";
  expect(chosen(`default,-${first},${first}`)).toEqual(chosen());
  expect(chosen(`${first},-${first}`), "what can not be switched off is left").toEqual([]);
});

test("families that are not there are named, with all that there are", () => {
  const told = mistakes({ families: "all,atempts,-agents,default", databaseUrl: URL_TEXT });
  expect(told).toHaveLength(2);
  expect(told[0]).toMatch(/^--families "all,atempts,-agents,default": "atempts" is no family; /);
  expect(told[1]).toContain('"-agents" is no family');
  for (const name of chosen("all")) expect(told[0]).toContain(name);
  expect(mistakes({ families: "-agents_first_connection_seconds", databaseUrl: URL_TEXT })).toEqual(
    [
      '--families "-agents_first_connection_seconds": there is nothing yet to take agents_first_connection_seconds from: begin with default or all',
    ],
  );
  expect(mistakes({ families: "all,-dropped_samples_total", databaseUrl: URL_TEXT })).toEqual([
    '--families "all,-dropped_samples_total": dropped_samples_total is always there; leave it out',
  ]);
  expect(mistakes({ families: "all,,", databaseUrl: URL_TEXT })[0]).toContain('"" is no family');
});

const limitOf = (seriesLimit?: string): number =>
  parse({ databaseUrl: URL_TEXT, seriesLimit }).seriesLimit;

test("how many label sets: a number, or 0 for any", () => {
  expect(["1", "100000", "10000000", "0"].map(limitOf)).toEqual([
    1,
    100_000,
    10_000_000,
    Number.POSITIVE_INFINITY,
  ]);
  for (const seriesLimit of ["-1", "1.5", "1e3", "10000001", "none", ""]) {
    expect(mistakes({ seriesLimit, databaseUrl: URL_TEXT })).toEqual([
      `--series-limit ${JSON.stringify(seriesLimit)}: must be a number of label sets up to 10000000, e.g. 100000, or 0 for no limit`,
    ]);
  }
});

const read = (readEvery?: string): number =>
  parse({ databaseUrl: URL_TEXT, readEvery }).readEveryMs;

test("how often to read: a duration within reason, or 0 for a stream", () => {
  expect(read()).toBe(5_000);
  expect(["0", "10ms", "250ms", "2s", "60s"].map(read)).toEqual([0, 10, 250, 2_000, 60_000]);
  for (const readEvery of ["1ms", "61s", "2", "1m", "-1s", "1.5s", ""]) {
    const [told] = mistakes({ readEvery, databaseUrl: URL_TEXT });
    expect(told).toBe(
      `--read-every ${JSON.stringify(readEvery)}: must be 0, or from 10ms to 60s, e.g. 500ms or 2s`,
    );
  }
});

test("how to begin and what to do at a gap", () => {
  const flags = { baseline: "none", onGap: "halt", adoptSystem: "7", databaseUrl: URL_TEXT };
  expect(parse(flags)).toMatchObject({ baseline: "none", onGap: "halt", adoptSystem: "7" });
  expect(parse({ databaseUrl: URL_TEXT })).toMatchObject({
    baseline: "tables",
    onGap: "baseline",
    temporarySlot: false,
  });
  expect(parse({ temporarySlot: true, databaseUrl: URL_TEXT }).temporarySlot).toBe(true);
  expect(
    mistakes({ baseline: "all", onGap: "stop", adoptSystem: "x", databaseUrl: URL_TEXT }),
  ).toEqual([
    '--baseline "all": must be tables or none',
    '--on-gap "stop": must be baseline or halt',
    '--adopt-system "x": must be a system identifier, as pg_control_system() shows it',
  ]);
  expect(mistakes({ baseline: "none", temporarySlot: true, databaseUrl: URL_TEXT })).toEqual([
    "--temporary-slot: leaves nothing to replay, so --baseline can not be none",
  ]);
});

test.each([
  ["1024", 1024],
  ["512kB", 512 * 2 ** 10],
  ["10GB", 10 * 2 ** 30],
  ["1 TB", 2 ** 40],
])("a size as Postgres writes it: %s", (maxSlotLag, bytes) => {
  expect(parse({ maxSlotLag, databaseUrl: URL_TEXT }).maxSlotLag).toBe(bytes);
});

test.each(["0", "-1", "10 gigabytes", "1.5GB", "999999999999999TB", ""])(
  "no size: %j",
  (maxSlotLag) => {
    expect(mistakes({ maxSlotLag, databaseUrl: URL_TEXT })).toEqual([
      `--max-slot-lag ${JSON.stringify(maxSlotLag)}: must be a size above 0, e.g. 512MB or 10GB`,
    ]);
  },
);

test.each([
  ["off", null],
  ["90s", 90_000],
  ["30m", 1_800_000],
  ["1h", 3_600_000],
  ["24d", 2_073_600_000],
])("how often to verify: %s", (verifyEvery, ms) => {
  expect(parse({ verifyEvery, databaseUrl: URL_TEXT }).verifyEveryMs).toBe(ms);
});

test.each(["0s", "1", "-1h", "1.5h", "25d", "1w", "on", ""])(
  "not how often to verify: %j",
  (verifyEvery) => {
    expect(mistakes({ verifyEvery, databaseUrl: URL_TEXT })).toEqual([
      `--verify-every ${JSON.stringify(verifyEvery)}: must be off, or from 1s to 24d, e.g. 90s, 30m or 24h`,
    ]);
  },
);

test.each([
  ["https://coder.example.com", "https://coder.example.com"],
  ["https://coder.example.com/", "https://coder.example.com"],
  ["http://localhost:7080//", "http://localhost:7080"],
  ["HTTPS://Coder.Example.com:443/", "https://coder.example.com"],
  ["https://example.com/coder/", "https://example.com/coder"],
])("where people find Coder: %s", (coderUrl, url) => {
  expect(parse({ coderUrl, databaseUrl: URL_TEXT }).coderUrl).toBe(url);
  expect(parse({}, { FIRSTLIGHT_CODER_URL: coderUrl, DATABASE_URL: URL_TEXT }).coderUrl).toBe(url);
});

test.each([
  "coder.example.com",
  "coder.example.com:443",
  "https://",
  "ftp://coder.example.com",
  "javascript:alert(1)",
  "https://admin:s3cret@coder.example.com",
  "https://s3cret@coder.example.com",
  "https://coder.example.com/?coder_session_token=s3cret",
  "https://coder.example.com/?",
  "https://coder.example.com/#s3cret",
])("not where people find Coder: %j, which is not shown", (coderUrl) => {
  expect(mistakes({ coderUrl, databaseUrl: URL_TEXT })).toEqual([
    "--coder-url: must be an http:// or https:// address without user, password, ? or #, e.g. https://coder.example.com",
  ]);
});

test.each([
  ["postgres://u:se#cret@h/d", "percent-encoded"],
  ["postgres://u:secret@h:port/d", "percent-encoded"],
  ["host=h password=secret", "must begin with postgres://"],
  ["postgres://u:secret@h/d?sslmode=prefer", "disable, require, verify-ca, verify-full"],
  ["postgres://u:secret@h/d?sslmode=verify-ca", "no CA is given"],
])("a wrong database URL is named and never shown: %#", (databaseUrl, part) => {
  const told = mistakes({ databaseUrl });
  expect(told).toHaveLength(1);
  expect(told[0]).toMatch(/^--database-url: /);
  expect(told[0]).toContain(part);
  expect(told[0]).not.toContain("cret");
});

test("a missing database URL is a mistake only where one is needed", async () => {
  expect(mistakes()).toEqual([
    "--database-url: is missing; give it, or set FIRSTLIGHT_DATABASE_URL",
  ]);
  const config = parseConfig({ flags: {}, env: {}, readFile: reader({}), needsDatabase: false });
  expect(config.databaseConfigured).toBe(false);
  await expect(config.database()).rejects.toBeInstanceOf(UsageError);
});

test("unreadable files are mistakes", () => {
  expect(mistakes({ databaseCa: "/ca.pem" }, { FIRSTLIGHT_DATABASE_URL_FILE: "/url" })).toEqual([
    '--database-ca "/ca.pem": can not be read',
    "FIRSTLIGHT_DATABASE_URL_FILE: names a file that can not be read",
  ]);
});

test("a URL and a file at once are a mistake", () => {
  const env = { FIRSTLIGHT_DATABASE_URL: URL_TEXT, FIRSTLIGHT_DATABASE_URL_FILE: "/url" };
  expect(mistakes({}, env, { "/url": URL_TEXT })).toEqual([
    "FIRSTLIGHT_DATABASE_URL_FILE: FIRSTLIGHT_DATABASE_URL is set too; set one of them",
  ]);
});

test("the variables that Kubernetes sets for a Service of our name are not mistakes", () => {
  const env = {
    DATABASE_URL: URL_TEXT,
    FIRSTLIGHT_SERVICE_HOST: "10.0.0.1",
    FIRSTLIGHT_SERVICE_PORT: "9788",
    FIRSTLIGHT_SERVICE_PORT_METRICS: "9788",
    FIRSTLIGHT_PORT: "tcp://10.0.0.1:9788",
    FIRSTLIGHT_PORT_9788_TCP: "tcp://10.0.0.1:9788",
    FIRSTLIGHT_PORT_9788_TCP_ADDR: "10.0.0.1",
  };
  expect(mistakes({}, env)).toEqual([]);
});

test.each([
  ["0.0.0.0:80", { host: "0.0.0.0", port: 80 }],
  [":9788", { host: "::", port: 9788 }],
  ["[::1]:0", { host: "::1", port: 0 }],
  ["localhost:65535", { host: "localhost", port: 65_535 }],
])("listens on %s", (listen, expected) => {
  expect(parse({ listen, databaseUrl: URL_TEXT }).listen).toEqual(expected);
});

test.each(["localhost", "localhost:65536", "::1:80", "[::1]", "a b:1:2"])(
  "does not listen on %s",
  (listen) => {
    expect(mistakes({ listen, databaseUrl: URL_TEXT })).toHaveLength(1);
  },
);

test("agent labels keep the order of the metric", () => {
  expect(
    parse({ agentLabels: "agent_name, template_name", databaseUrl: URL_TEXT }).agentLabels,
  ).toEqual(["template_name", "agent_name"]);
});

test("each option has a flag, a variable of the same words, and help", () => {
  for (const option of OPTIONS) {
    expect(option.env).toBe(
      `FIRSTLIGHT_${option.flag.slice(2).replaceAll("-", "_").toUpperCase()}`,
    );
    expect(option.description).not.toBe("");
  }
});

test("a password may come by a file of its own, read again at each connection", async () => {
  const files: Record<string, string> = { "/run/password": " first/?#@ \r\n" };
  const config = parse(
    { databasePasswordFile: "/run/password" },
    { DATABASE_URL: "postgres://fl@db/coder" },
    files,
  );
  // Blanks are its own, the end of the line is not.
  expect(await config.database()).toMatchObject({ user: "fl", password: " first/?#@ " });
  files["/run/password"] = "second";
  expect((await config.database()).password).toBe("second");
  files["/run/password"] = "\n";
  await expect(config.database()).rejects.toMatchObject({
    name: "Transient",
    reason: "secret_unreadable",
    message: "the database password names an empty file",
  });
});

test.each([
  ["/none", "postgres://fl@db/coder", "names a file that can not be read"],
  ["/empty", "postgres://fl@db/coder", "names an empty file"],
])("a password file %s is a mistake", (path, url, words) => {
  const env = { DATABASE_URL: url, FIRSTLIGHT_DATABASE_PASSWORD_FILE: path };
  expect(mistakes({}, env, { "/empty": "\n" })).toEqual([
    `FIRSTLIGHT_DATABASE_PASSWORD_FILE "${path}": ${words}`,
  ]);
});

test.each(["postgres://fl:c4nary@db/coder", "postgres://fl@db/coder?password=c4nary"])(
  "a password in the URL beside one in a file is a mistake: %s",
  (url) => {
    const env = { DATABASE_URL: url, FIRSTLIGHT_DATABASE_PASSWORD_FILE: "/p" };
    expect(mistakes({}, env, { "/p": "c4nary" })).toEqual([
      'DATABASE_URL: holds a password, although FIRSTLIGHT_DATABASE_PASSWORD_FILE "/p" is given; take one of them away',
    ]);
  },
);
