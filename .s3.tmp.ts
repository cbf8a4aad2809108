import pg from "pg";
import { startServer } from "./src/demo/server.ts";
import { createCoderSchema } from "./src/demo/coder/schema.ts";
import { openSimulation } from "./src/demo/coder/simulation.ts";
await using s = await startServer();
const c = new pg.Client(s.url()); c.on("error", () => {}); await c.connect();
await createCoderSchema(c);
const startAt = (Date.now() - 3600_000) * 1000;
await using sim = openSimulation({ url: s.url(), seed: 5, startAt });
await sim.seedDeployment();
for (const speed of [30]) {
  const signal = AbortSignal.timeout(30_000);
  const t0 = process.cpuUsage();
  const w = setInterval(() => { if (sim.now > Date.now() * 1000) console.log("PAST", sim.now - Date.now()*1000); }, 5);
  const first = { success: 0, failure: 0, conn: 0 };
  const t = performance.now();
  const v = setInterval(() => { const e = sim.expected();
    if (!first.success && e.outcomes.some((o) => o.end.status === "success")) first.success = performance.now() - t;
    if (!first.failure && e.outcomes.some((o) => o.end.status === "failure")) first.failure = performance.now() - t;
    if (!first.conn && e.connected.length) first.conn = performance.now() - t; }, 50);
  await sim.pace({ speed, signal });
  clearInterval(w); clearInterval(v);
  console.log(speed, first, process.cpuUsage(t0), (Date.now() * 1000 - sim.now) / 1e6, "s behind", sim.expected().attempted.length, sim.connectedAgents().length);
  console.log((await c.query("select state, count(*) from pg_stat_activity where application_name='coderd' group by 1")).rows);
}
let t = performance.now();
await sim.run({ workflows: 0 });
console.log("settled", performance.now() - t, sim.connectedAgents().length);
t = performance.now();
await sim.heartbeats({ count: 100_000 });
console.log("100k single", performance.now() - t);
t = performance.now();
await sim.heartbeats({ count: 100_000, perTransaction: 100_000 });
console.log("100k in one", performance.now() - t);
console.log((await c.query("show synchronous_commit")).rows, (await c.query("select count(*) from workspace_agents where first_connected_at is not null and last_connected_at > now() - interval '2h'")).rows);
if (process.argv[2]) { t = performance.now(); await sim.heartbeats({ count: 1_000_000 }); console.log("1M", performance.now() - t); }
await c.end();
