// The Kubernetes manifest and the systemd unit agree with the image and the contract, as far as parsers can tell.

import { readFileSync } from "node:fs";
import { dirname } from "node:path";
import { expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { z } from "zod";
import { parseConfig } from "../../src/config.ts";
import { must } from "../../src/errors.ts";
import { NODE_FLAGS } from "../support/node-flags.ts";

const text = (name: string): string =>
  readFileSync(new URL(`../../deploy/${name}`, import.meta.url), "utf8");

const URL_IN_FILE = "postgres://firstlight:secret@db.example.com:5432/coder";
const configOf = (env: Record<string, string>) =>
  parseConfig({ flags: {}, env, readFile: () => URL_IN_FILE });

const labels = z.record(z.string(), z.string());
const probe = z.object({ httpGet: z.object({ path: z.string(), port: z.string() }) });
const statefulSet = z.object({
  kind: z.literal("StatefulSet"),
  metadata: z.object({ name: z.string() }),
  spec: z.object({
    serviceName: z.string(),
    replicas: z.number(),
    selector: z.object({ matchLabels: labels }),
    template: z.object({
      metadata: z.object({ labels }),
      spec: z.object({
        automountServiceAccountToken: z.boolean(),
        terminationGracePeriodSeconds: z.number(),
        securityContext: z.object({
          runAsNonRoot: z.boolean(),
          runAsUser: z.number(),
          runAsGroup: z.number(),
          fsGroup: z.number(),
        }),
        containers: z.tuple([
          z.object({
            args: z.array(z.string()),
            env: z.array(z.object({ name: z.string(), value: z.string() })),
            ports: z.array(z.object({ name: z.string(), containerPort: z.number() })),
            livenessProbe: probe,
            readinessProbe: probe,
            securityContext: z.object({
              allowPrivilegeEscalation: z.boolean(),
              readOnlyRootFilesystem: z.boolean(),
              capabilities: z.object({ drop: z.array(z.string()) }),
            }),
            volumeMounts: z.array(z.object({ name: z.string(), mountPath: z.string() })),
          }),
        ]),
        volumes: z.array(z.object({ name: z.string() })),
      }),
    }),
    volumeClaimTemplates: z.array(z.object({ metadata: z.object({ name: z.string() }) })),
  }),
});
const service = z.object({
  kind: z.literal("Service"),
  metadata: z.object({ name: z.string() }),
  spec: z.object({
    publishNotReadyAddresses: z.boolean(),
    selector: labels,
    ports: z.array(z.object({ port: z.number(), targetPort: z.string() })),
  }),
});

const documents = parseAllDocuments(text("kubernetes.yaml"), { strict: true, uniqueKeys: true });
if (!Array.isArray(documents)) throw new Error("an empty manifest");
const [set, front] = z
  .tuple([statefulSet, service])
  .parse(documents.map((document) => document.toJS({ mapAsMap: false }) as unknown));
const pod = set.spec.template.spec;
const [container] = pod.containers;

test("the manifest has no mistakes that YAML can have, and its parts select each other", () => {
  expect(documents.flatMap(({ errors, warnings }) => [...errors, ...warnings])).toEqual([]);
  expect(set.spec.serviceName).toBe(front.metadata.name);
  expect(set.spec.template.metadata.labels).toMatchObject(set.spec.selector.matchLabels);
  expect(set.spec.template.metadata.labels).toMatchObject(front.spec.selector);
  const names = [
    ...pod.volumes.map(({ name }) => name),
    ...set.spec.volumeClaimTemplates.map(({ metadata }) => metadata.name),
  ];
  expect(container.volumeMounts.map(({ name }) => name).sort()).toEqual(names.sort());
});

test("the pod's settings are ours; one pod, whose ledger is on a volume that its user may write", () => {
  const { listen, statePath } = configOf(
    Object.fromEntries(container.env.map(({ name, value }) => [name, value])),
  );
  expect(set.spec.replicas).toBe(1);
  expect(container.args).toEqual(["serve"]);
  expect(listen.host).toBe("0.0.0.0");
  expect(container.ports).toEqual([{ name: "metrics", containerPort: listen.port }]);
  expect(front.spec.ports).toEqual([{ port: listen.port, targetPort: "metrics" }]);
  const [claim] = set.spec.volumeClaimTemplates;
  const mount = container.volumeMounts.find(({ mountPath }) => mountPath === dirname(statePath));
  expect(mount?.name).toBe(claim?.metadata.name);
  const secret = container.env.find(({ name }) => name === "FIRSTLIGHT_DATABASE_URL_FILE");
  expect(container.volumeMounts.map(({ mountPath }) => mountPath)).toContain(
    dirname(must(secret, "no secret").value),
  );
});

test("nobody, read-only, without rights; probes that do not end a baseline; a stop that is waited for", () => {
  const user = /^USER (\d+):(\d+)$/m.exec(text("Dockerfile"))?.slice(1).map(Number);
  const { runAsNonRoot, runAsUser, runAsGroup, fsGroup } = pod.securityContext;
  expect([runAsUser, runAsGroup]).toEqual(user);
  expect([runAsNonRoot, fsGroup]).toEqual([true, runAsGroup]);
  expect(container.securityContext).toEqual({
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ["ALL"] },
  });
  expect(pod.automountServiceAccountToken).toBe(false);
  expect(container.livenessProbe.httpGet).toEqual({ path: "/livez", port: "metrics" });
  expect(container.readinessProbe.httpGet).toEqual({ path: "/readyz", port: "metrics" });
  expect(front.spec.publishNotReadyAddresses).toBe(true);
  expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(5);
});

test("the unit starts the built command with settings that are ours, its ledger in the folder that systemd makes", () => {
  const lines = text("firstlight.service")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#") && !line.startsWith("["));
  const all = (name: string): string[] =>
    lines.filter((line) => line.startsWith(`${name}=`)).map((line) => line.slice(name.length + 1));
  for (const line of lines) expect(line).toMatch(/^[A-Z]\w+=/);
  const { bin } = JSON.parse(text("../package.json")) as { bin: { firstlight: string } };
  expect(all("ExecStart")).toEqual([
    `/usr/bin/node ${NODE_FLAGS.join(" ")} /opt/firstlight/${bin.firstlight} serve`,
  ]);
  const env = Object.fromEntries(all("Environment").map((pair) => pair.split("=", 2)));
  const config = configOf({ ...env, FIRSTLIGHT_DATABASE_URL: URL_IN_FILE });
  expect(dirname(config.statePath)).toBe(`/var/lib/${all("StateDirectory")[0]}`);
  expect(config.listen.host).toBe("127.0.0.1");
  expect(all("RestartPreventExitStatus")).toEqual(["2"]);
  expect(Number(all("TimeoutStopSec")[0])).toBeGreaterThan(5);
  expect([all("ProtectSystem"), all("NoNewPrivileges")]).toEqual([["strict"], ["yes"]]);
});
