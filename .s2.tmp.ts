import pg from "pg";
import { startServer } from "./src/demo/server.ts";
import { createCoderSchema } from "./src/demo/coder/schema.ts";
import { openSimulation } from "./src/demo/coder/simulation.ts";
await using s = await startServer(process.argv[2] ? { settings: { fsync: "off" } } : {});
for (const seed of [1, 2, 3]) {
  const admin = new pg.Client(s.url()); await admin.connect();
  await admin.query(`create database d${seed}`); await admin.end();
  const c = new pg.Client(s.url(`d${seed}`)); c.on("error", () => {}); await c.connect();
  await createCoderSchema(c);
  await using sim = openSimulation({ url: s.url(`d${seed}`), seed, startAt: Date.parse("2026-01-01T00:00:00Z") * 1000, divergent: seed === 2, oddNames: seed===3 });
  let t = performance.now();
  await sim.seedDeployment();
  console.log("seed", performance.now() - t); t = performance.now();
  await sim.run({ workflows: 100 });
  console.log("run", performance.now() - t, (sim.now - Date.parse("2026-01-01T00:00:00Z") * 1000) / 6e7, "min");
  const e = sim.expected();
  console.log(e.builds.size, e.ends.size, e.agents.size, e.attempted.length, e.outcomes.length, e.connected.length, e.divergent.length);
  console.log((await c.query("select (select count(*) from workspace_builds) wb, (select count(*) from provisioner_jobs) pj, (select count(*) from provisioner_jobs where completed_at is not null) pjc,(select count(*) from workspace_agents a join workspace_resources r on r.id=resource_id join workspace_builds b on b.job_id=r.job_id) wa, (select count(*) from workspace_agents where first_connected_at is not null) conn, (select sum(n_tup_upd) from pg_stat_user_tables) upd, (select xact_commit from pg_stat_database where datname=current_database())")).rows[0]);
  console.log((await c.query("select job_status, count(*) from provisioner_jobs group by 1 order by 1")).rows.map((r) => `${r.job_status}=${r.count}`).join(" "));
  await c.end();
}
