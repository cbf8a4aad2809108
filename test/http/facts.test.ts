// `/api/facts` over a socket, on the ledger of a store's file.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import type { Fact } from "../../src/derive/fact.ts";
import { Store } from "../../src/store/store.ts";
import { type Facts, factsOf } from "../support/facts.ts";
import { CATALOG, OFFERED, foldOf } from "../support/folding.ts";
import { NAMES, TRAITS, after, attempted, connected, ended, uuid } from "../support/rows.ts";
import { type Answer, type Serving, serving } from "../support/serving.ts";
import { longestSlice } from "../support/slices.ts";
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

describe("an answer", () => {
  test("says of each fact what its kind has", async () => {
    using _store = open();
    await using app = await serving(TOTALS, factsOf(path));
    const common = { lsn: "16/B374D848", divergent: false };
    const first = { build: "first", transition: "start", reason: "initiator" };
    const none = { stage: null, error_code: null, took_seconds: null };
    expect(await ask(app)).toEqual({
      ready: true,
      up_to: "16/B374D848",
      facts: [
        {
          ...{ kind: "connected", id: uuid(5), time: "2026-08-21T10:00:40.123456Z" },
          ...{ ...common, took_seconds: -0.000001 },
        },
        {
          ...{ kind: "ended", id: uuid(31), time: "2026-08-21T10:00:31.123456Z", ...common },
          ...{ status: "success", ...none, ...first, build: "other", transition: "stop" },
        },
        {
          ...{ kind: "ended", id: uuid(30), time: "2026-08-21T10:00:30.123456Z", ...common },
          ...{ status: "failure", stage: "provisioner", error_code: "other", took_seconds: 27.5 },
          ...first,
        },
        {
          ...{ kind: "attempted", id: uuid(1), time: "2026-08-21T10:00:01.123456Z" },
          ...{ ...common, ...first },
        },
        { kind: "offered", id: uuid(7), time: "2026-08-21T10:00:00.123456Z", ...common },
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
    const divergent = (await ask(app)).facts.filter((fact) => fact["divergent"]);
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
    expect(facts.map(({ names }) => names)).toEqual([{ ...NAMES, ...agent }, NAMES]);
  });
});

describe("links", () => {
  const links = async (query: string, facts = FACTS): Promise<unknown[]> => {
    using _store = open(facts);
    await using app = await serving(TOTALS, factsOf(path, CODER));
    return (await ask(app, query)).facts.map(({ link }) => link);
  };
  const BUILD = `${CODER}/api/v2/workspacebuilds/${uuid(1)}`;
  const AGENT = `${CODER}/api/v2/workspaceagents/${uuid(5)}`;
  const job = (n: number): string => `${CODER}/organizations/acme/provisioner-jobs?ids=${uuid(n)}`;

  test("are there for what Coder finds by its id alone", async () => {
    expect(await links("")).toEqual([AGENT, undefined, undefined, BUILD, undefined]);
  });

  test("go to a job where its organization may be named", async () => {
    expect(await links("?names=true")).toEqual([AGENT, job(31), job(30), BUILD, undefined]);
  });

  test("spell any organization, and are absent without one", async () => {
    const of = (organization: string): Fact[] => [ended({ names: { ...NAMES, organization } })];
    expect(await links("?names=true", of("a/b?c"))).toEqual([
      `${CODER}/organizations/a%2Fb%3Fc/provisioner-jobs?ids=${uuid(3)}`,
    ]);
    path += "2";
    expect(await links("?names=true", of(""))).toEqual([undefined]);
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
        'kind "failed": must be of attempted, ended, connected, offered',
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

/** Searches that go on until they are let go, and tell of themselves. */
function slowFacts(): Facts & { readonly running: Set<number>; letGo: boolean; begun: number } {
  const running = new Set<number>();
  const facts = {
    running,
    letGo: false,
    begun: 0,
    coderUrl: null,
    *search(): ReturnType<Facts["search"]> {
      const number = (facts.begun += 1);
      running.add(number);
      try {
        while (!facts.letGo) yield;
        return { upTo: null, facts: [], more: false };
      } finally {
        running.delete(number);
      }
    },
  };
  return facts;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turn();
}

describe("several at once", () => {
  test("wait for their turn, so many that one more is told to come back", async () => {
    const facts = slowFacts();
    await using app = await serving(TOTALS, facts);
    // One has its turn and eight may wait.
    const asking = Array.from({ length: 10 }, () => app.get("/api/facts"));
    const refused = await Promise.race(asking);
    expect(refused).toMatchObject({ status: 503, headers: { "retry-after": "1" } });
    expect(JSON.parse(refused.body)).toEqual({
      error: "too many searches are waiting",
      hint: "ask again in a moment",
    });
    expect([facts.running.size, facts.begun]).toEqual([1, 1]);
    facts.letGo = true;
    const statuses = (await Promise.all(asking)).map(({ status }) => status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(9);
    expect(facts.begun).toBe(9);
    expect((await app.get("/api/facts")).status).toBe(200);
  });

  test("a client that goes away ends its search, and one that waits never begins it", async () => {
    const facts = slowFacts();
    await using app = await serving(TOTALS, facts);
    const leaving = new AbortController();
    const url = `http://127.0.0.1:${app.port}/api/facts`;
    const first = fetch(url, { signal: leaving.signal });
    await until(() => facts.begun === 1);
    const second = fetch(url, { signal: leaving.signal });
    // It has arrived and waits: another round trip on the same server has come after it.
    await app.get("/livez");
    leaving.abort();
    await expect(first).rejects.toThrow(/abort/i);
    await expect(second).rejects.toThrow(/abort/i);
    await until(() => facts.running.size === 0);
    facts.letGo = true;
    expect((await app.get("/api/facts")).status).toBe(200);
    expect(facts.begun).toBe(2);
    expect(app.logged).toEqual([]);
  });
});

test("others run while a large ledger is searched", async () => {
  const many = Array.from({ length: 60_000 }, (_, n) =>
    ended({ id: uuid(n), at: after((n * 7_919) % 60_000) }),
  );
  using _store = open(many);
  const facts = factsOf(path);
  const atOnce: Facts = {
    ...facts,
    *search(question) {
      const steps = facts.search(question);
      let step = steps.next();
      while (!step.done) step = steps.next();
      yield;
      return step.value;
    },
  };
  const longest = async (of: Facts, query: string): Promise<number> => {
    const rounds: number[] = [];
    for (let round = 0; round < 3; round += 1) {
      await using app = await serving(TOTALS, of);
      rounds.push(await longestSlice(() => app.get(`/api/facts${query}`)));
    }
    // The client runs in this thread, too, and now and then a garbage collection: the best round says what is ours.
    return Math.min(...rounds);
  };
  for (const query of ["?limit=100", "?since=2027-01-01"])
    expect(await longest(facts, query)).toBeLessThan((await longest(atOnce, query)) / 2);
}, 60_000);
