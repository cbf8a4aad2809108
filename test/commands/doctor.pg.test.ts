// Misconfigurations of a database and of a role, each seeded, found, and healed by the fix as it is printed.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OTHERS, OURS, ROLES } from "./support/doctor-cases.ts";
import {
  type Prepared,
  examined,
  findingsOf,
  only,
  prepared,
  runFix,
  short,
} from "./support/doctor.ts";

describe.each([
  ["our publication", OURS],
  ["other publications", OTHERS],
  ["the role", ROLES],
])("%s", (_, cases) => {
  // One database for all: each case ends as it began, without a finding.
  let scene: Prepared;
  beforeAll(async () => {
    scene = await prepared();
  });
  afterAll(async () => scene[Symbol.asyncDispose]());

  test.each(cases)("$what", async ({ seed, check, severity, says, fails = "select 1" }) => {
    await scene.admin.query(seed.replaceAll("ROLE", scene.role));
    const seeded = await findingsOf(scene);
    const finding = only(seeded, check, says);
    expect(finding.severity).toBe(severity);
    if (fails !== "select 1")
      await expect(scene.admin.query(fails)).rejects.toThrow(/^cannot (update|delete from) table/);
    await runFix(finding.fix, scene.admin);
    await scene.admin.query(fails);
    const healed = await findingsOf(scene);
    expect(short(healed)).not.toContain(short([finding])[0]);
    // A list of columns that made an UPDATE fail is still one that blocks migrations: the next finding.
    for (const { fix } of healed) await runFix(fix, scene.admin);
    if (healed.length > 0) expect(short(await findingsOf(scene))).toEqual([]);
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
});
