// `/api/facts` over a socket, on the ledger of a store's file.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import type { Fact } from "../../src/derive/fact.ts";
import { Store } from "../../src/store/store.ts";
import { type Facts, factsOf } from "../support/facts.ts";
import { CATALOG, OFFERED, foldOf } from "../support/folding.ts";
import {
  BUILDABLE,
  NAMES,
  TRAITS,
  WORKSPACE,
  after,
  attempted,
  connected,
  created,
  deleted,
  ended,
  uuid,
} from "../support/rows.ts";
import { type Answer, type Serving, serving } from "../support/serving.ts";
import { staged, write } from "../support/storing.ts";

const root = mkdtempSync(join(tmpdir(), "firstlight-facts-"));
let path = "";
let count = 0;
beforeEach(() => {
  path = join(root, `${(count += 1)}.db`);
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const TOTALS = foldOf([]).publish();
const CODER = "https://coder.example.com";

const FAILURE = {
  status: "failure",
  stage: "provisioner",
  errorCode: "other",
  took: 27_500_000,
} as const;

/** One of each kind, and a failure; in the order of time. */
const FACTS: readonly Fact[] = [
  OFFERED,
  attempted({ at: after(1) }),
  ended({ id: uuid(30), at: after(30), ...FAILURE }),
  ended({ id: uuid(31), at: after(31), traits: { ...TRAITS, initial: false, transition: "stop" } }),
  connected({ at: after(40), took: -1 }),
];

function open(facts: readonly Fact[] = FACTS): Store {
  const store = Store.open({ path, catalog: CATALOG });
  store.load();
  if (facts.length > 0) write(store, { facts });
  return store;
}

interface Page {
  readonly ready: boolean;
  readonly up_to: string | null;
  readonly facts: readonly Readonly<Record<string, unknown>>[];
  readonly next: string | null;
}

const pageOf = ({ body }: Answer): Page => JSON.parse(body) as Page;

async function ask(app: Serving, query = ""): Promise<Page> {
  const answer = await app.get(`/api/facts${query}`);
  expect(answer).toMatchObject({ status: 200, type: "application/json" });
  expect(answer.headers["cache-control"]).toBe("no-store");
  return pageOf(answer);
}

/** What every fact has. */
const fact = (kind: string, id: string, time: string): object => ({
  kind,
  id,
  time: `2026-08-21T10:00:${time}.123456Z`,
  lsn: "16/B374D848",
  divergent: false,
});

describe("an answer", () => {
  test("says of each fact what its kind has", async () => {
    using _store = open();
    await using app = await serving(TOTALS, factsOf(path));
    const first = {
      build: "first",
      transition: "start",
      reason: "initiator",
      workspace: uuid(2),
      build_number: 1,
    };
    const failure = { status: "failure", stage: "provisioner", error_code: "other" };
    const success = { status: "success", stage: null, error_code: null };
    expect(await ask(app)).toEqual({
      ready: true,
      up_to: "16/B374D848",
      facts: [
        Object.assign(fact("connected", uuid(5), "40"), { took_seconds: -0.000001 }),
        Object.assign(fact("ended", uuid(31), "31"), success, first, {
          took_seconds: null,
          build: "other",
          transition: "stop",
        }),
        Object.assign(fact("ended", uuid(30), "30"), failure, first, { took_seconds: 27.5 }),
        Object.assign(fact("attempted", uuid(1), "01"), first),
        fact("offered", uuid(7), "00"),
      ],
      next: null,
    });
  });

  test("which ones failed", async () => {
    using _store = open();
    await using app = await serving(TOTALS, factsOf(path));
    const { facts } = await ask(app, "?kind=ended&status=failure&build=first&since=2026-08-21");
    expect(facts.map(({ id }) => id)).toEqual([uuid(30)]);
    expect((await ask(app, "?status=failure&since=2026-08-22&until=2026-08-23")).facts).toEqual([]);
  });

  test("durations count back from now", async () => {
    const now = Date.now() * 1_000;
    using _store = open([attempted({ at: now - 3_000_000_000 })]);
    await using app = await serving(TOTALS, factsOf(path));
    expect((await ask(app, "?since=1h")).facts).toHaveLength(1);
    expect((await ask(app, "?since=40m")).facts).toEqual([]);
    expect((await ask(app, "?until=40m")).facts).toHaveLength(1);
  });

  test("is continued by `next`, as it stands", async () => {
    using _store = open();
    await using app = await serving(TOTALS, factsOf(path));
    const ids: unknown[] = [];
    let query = "?limit=2";
    for (let pages = 0; pages < 3; pages += 1) {
      const { facts, next } = await ask(app, query);
      ids.push(...facts.map(({ id }) => id));
      expect(next === null).toBe(pages === 2);
      query = `?limit=2&before=${next}`;
    }
    expect(ids).toEqual(FACTS.map(({ id }) => id).toReversed());
  });

  test("says which ids are divergent", async () => {
    using store = open();
    write(store, { sightings: [{ kind: "ended", id: uuid(30), gone: true }] });
    await using app = await serving(TOTALS, factsOf(path));
    const divergent = (await ask(app)).facts.filter((one) => one["divergent"]);
    expect(divergent.map(({ id }) => id)).toEqual([uuid(30)]);
  });

  test("holds nothing that is not committed", async () => {
    using store = open([attempted()]);
    await using app = await serving(TOTALS, factsOf(path));
    using transaction = store.begin();
    transaction.add(staged(store, { facts: [ended()] }));
    expect((await ask(app)).facts).toHaveLength(1);
  });

  test("of a ledger in which nothing is counted yet is empty, and not ready", async () => {
    using _store = open([]);
    await using app = await serving(null, factsOf(path));
    expect(await ask(app)).toEqual({ ready: false, up_to: null, facts: [], next: null });
  });

  test("says that totals are hidden, also where they were shown before", async () => {
    using _store = open();
    await using app = await serving(TOTALS, factsOf(path));
    app.vitals.ready = true;
    app.state.shown = null;
    const { ready, facts } = await ask(app);
    expect({ ready, facts: facts.length }).toEqual({ ready: false, facts: FACTS.length });
  });
});

describe("names", () => {
  test("are absent, also from links, unless they are asked for", async () => {
    using _store = open();
    await using app = await serving(TOTALS, factsOf(path, CODER));
    for (const query of ["", "?names=false", "?kind=connected"]) {
      const { body } = await app.get(`/api/facts${query}`);
      expect(body).not.toMatch(/acme|docker|large|alice|dev"|main"|names/);
    }
  });

  test("are those of the ledger", async () => {
    using _store = open();
    await using app = await serving(TOTALS, factsOf(path));
    const { facts } = await ask(app, "?names=true&kind=connected,attempted");
    const agent = { agent: "main", username: "alice", workspace: "dev" };
    expect(facts.map(({ names }) => names)).toEqual([
      { ...BUILDABLE, ...agent },
      { ...NAMES, username: "alice", workspace: "dev" },
    ]);
  });
});

/** As an older version counted it. */
const endedIn = (organization: string): Fact[] => [
  ended({ names: { ...NAMES, organization }, workspace: null, number: 0 }),
];

const buildOf = (owner: string, name: string): Fact[] => [
  ended({ workspace: { id: uuid(2), owner, name }, number: 3 }),
  created(),
];

describe("links", () => {
  const links = async (query: string, facts = FACTS): Promise<unknown[]> => {
    using _store = open(facts);
    await using app = await serving(TOTALS, factsOf(path, CODER));
    return (await ask(app, query)).facts.map(({ link }) => link);
  };
  const BUILD = `${CODER}/api/v2/workspacebuilds/${uuid(1)}`;
  const AGENT = `${CODER}/api/v2/workspaceagents/${uuid(5)}`;

  test("are there for what Coder finds by its id alone", async () => {
    expect(await links("")).toEqual([AGENT, undefined, undefined, BUILD, undefined]);
  });

  test("go to the page of a build where people may be named, and to that of a workspace", async () => {
    const first = `${CODER}/@alice/dev/builds/1`;
    expect(await links("?names=true")).toEqual([AGENT, first, first, first, undefined]);
    path += "2";
    expect((await links("?names=true", buildOf("bob", "a/b?c"))).sort()).toEqual([
      `${CODER}/@alice/dev`,
      `${CODER}/@bob/a%2Fb%3Fc/builds/3`,
    ]);
    path += "3";
    expect((await links("", buildOf("bob", "x"))).sort()).toEqual([
      `${CODER}/api/v2/workspaces/${uuid(2)}`,
      undefined,
    ]);
    path += "0";
    expect(await links("?names=true", [deleted(), connected({ workspace: WORKSPACE })])).toEqual([
      `${CODER}/api/v2/workspaces/${uuid(2)}?include_deleted=true`,
      AGENT,
    ]);
    path += "4";
    expect(
      await links("?names=true&kind=attempted", [
        attempted({ workspace: { id: uuid(2), owner: "", name: "" } }),
      ]),
    ).toEqual([BUILD]);
  });

  test("of an older ledger spell any organization, and are absent without one", async () => {
    expect(await links("?names=true", endedIn("a/b?c"))).toEqual([
      `${CODER}/organizations/a%2Fb%3Fc/provisioner-jobs?ids=${uuid(3)}`,
    ]);
    path += "2";
    expect(await links("?names=true", endedIn(""))).toEqual([undefined]);
  });
});

describe("what it refuses", () => {
  test("is a question with mistakes, all of which are named, without a search", async () => {
    await using app = await serving(TOTALS, factsOf(path));
    const answer = await app.get("/api/facts?kind=failed&limit=many&sort=at");
    expect(answer).toMatchObject({ status: 400, type: "application/json" });
    expect(JSON.parse(answer.body)).toEqual({
      error: "not understood",
      mistakes: [
        expect.stringMatching(/^sort: is not known; there are kind, /),
        'kind "failed": must be of attempted, ended, connected, offered, created, deleted, started, ran, ready, overdue',
        'limit "many": must be a whole number from 1 to 1000',
      ],
    });
  });

  test("is a store that can not be read: 503, what to do, and a line in the log", async () => {
    await using app = await serving(TOTALS, factsOf(path));
    const answer = await app.get("/api/facts");
    expect(answer).toMatchObject({ status: 503, type: "application/json" });
    expect(JSON.parse(answer.body)).toEqual({
      error: `there is no store ${path}`,
      hint: expect.stringContaining("--state"),
    });
  });

  test("is another method", async () => {
    await using app = await serving(TOTALS, factsOf(path));
    const { status, headers } = await app.get("/api/facts", { method: "POST" });
    expect({ status, allow: headers.allow }).toEqual({ status: 405, allow: "GET, HEAD" });
    expect((await app.get("/api/fact")).body).toContain("/api/facts");
  });

  test("says nothing of an error inside", async () => {
    const facts: Facts = {
      coderUrl: null,
      *search() {
        yield;
        throw new Error("s3cret");
      },
    };
    await using app = await serving(TOTALS, facts);
    expect(await app.get("/api/facts")).toMatchObject({ status: 500, body: "internal error\n" });
    expect((await app.get("/api/facts")).status, "the next one has its turn").toBe(500);
    expect(app.logged.join("")).toContain("a request failed");
  });
});

test("HEAD answers as GET, without a body and without a search", async () => {
  // There is no store.
  await using app = await serving(TOTALS, factsOf(path));
  const head = await app.get("/api/facts", { method: "HEAD" });
  expect(head).toMatchObject({ status: 200, type: "application/json", body: "" });
  expect((await app.get("/api/facts?limit=0", { method: "HEAD" })).status).toBe(400);
});
