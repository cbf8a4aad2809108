// Measured process: prom-client's own histogram with the same labels, buckets and data, served as its documentation shows.
// It has no gzip; where a scraper asks for it, the whole text is compressed off the main thread at our level.

import { type ServerResponse, createServer } from "node:http";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { Histogram, Registry } from "prom-client";
import { must } from "../../../../src/errors.ts";
import { createCatalog } from "../../../../src/metrics/catalog.ts";
import { AGENT_LABELS } from "../../../../src/metrics/families/agents.ts";
import { takeCommands } from "./commands.ts";
import { NAME, workspaceOf } from "./data.ts";

const compress = promisify<string, { level: number }, Buffer>(gzip);

const workspaces = Number(process.argv[2]);
const family = must(
  createCatalog({ agentLabels: AGENT_LABELS }).find(({ type }) => type === "histogram"),
  "no histogram in the catalog",
);
if (family.type !== "histogram") throw new Error("not a histogram");
const registry = new Registry();
const histogram = new Histogram({
  name: NAME,
  help: family.help,
  labelNames: [...family.labels],
  buckets: [...family.buckets],
  registers: [registry],
});
for (let n = 0; n < workspaces; n += 1) {
  const { template, agent, username, workspace, connections } = workspaceOf(n);
  const child = histogram.labels(template, agent, username, workspace);
  for (const ms of connections) child.observe(ms / 1_000);
}

async function answer(outgoing: ServerResponse, zipped: boolean): Promise<void> {
  const text = await registry.metrics();
  outgoing.setHeader("Content-Type", registry.contentType);
  if (zipped) outgoing.setHeader("Content-Encoding", "gzip");
  outgoing.end(zipped ? await compress(text, { level: 1 }) : text);
}

const server = createServer((incoming, outgoing) => {
  void answer(outgoing, incoming.headers["accept-encoding"] === "gzip");
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  takeCommands(typeof address === "object" && address !== null ? address.port : 0, {});
});
