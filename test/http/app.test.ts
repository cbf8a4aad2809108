// Every endpoint, over a socket. What is special to scrapes is in scrape.test.ts.

import { describe, expect, test } from "vitest";
import { toLsn } from "../../src/lsn.ts";
import { foldOf, page } from "../support/folding.ts";
import { attempted, connected } from "../support/rows.ts";
import { type Serving, serving } from "../support/serving.ts";

const TEXT = "text/plain; version=0.0.4; charset=utf-8";

const TOTALS = foldOf([attempted(), connected()]).publish();

describe("before anything is shown", () => {
  test("a scrape succeeds with our own health and no total", async () => {
    await using app = await serving();
    const { status, type, body } = await app.get("/metrics");
    expect({ status, type }).toEqual({ status: 200, type: TEXT });
    expect(body).toContain("firstlight_ready 0\n");
    expect(body).not.toMatch(/workspace_creation|agents_first_connection|dropped_samples/);
    expect(body.endsWith("\n")).toBe(true);
  });

  test("it is alive and not ready, and says why", async () => {
    await using app = await serving();
    expect(await app.get("/livez")).toMatchObject({ status: 200, body: "ok\n" });
    expect(await app.get("/readyz")).toMatchObject({ status: 503, body: "not ready: starting\n" });
    app.vitals.trouble = { reason: "slot_in_use", message: "the slot is held", hint: null };
    expect((await app.get("/readyz")).body).toBe("not ready: the slot is held\n");
    expect((await app.get("/livez")).status).toBe(200);
    expect(JSON.parse((await app.get("/api/status")).body)).toMatchObject({
      state: "not following",
      ready: false,
      received: null,
    });
  });
});

/** As after the check that follows START. */
async function ready(): Promise<Serving> {
  const app = await serving(TOTALS);
  app.vitals.ready = true;
  return app;
}

describe("once totals are shown", () => {
  test("a scrape is our health and then the page of the totals, byte for byte", async () => {
    await using app = await ready();
    const { body, type } = await app.get("/metrics");
    expect(type).toBe(TEXT);
    expect(body).toContain("firstlight_ready 1\n");
    expect(body.endsWith(page(TOTALS))).toBe(true);
    const names = [...body.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
    expect(new Set(names).size, "each metric stands there once").toBe(names.length);
  });

  test("it stays ready while the stream is broken", async () => {
    await using app = await ready();
    app.vitals.trouble = { reason: "connection_lost", message: "lost", hint: null };
    expect(await app.get("/readyz")).toMatchObject({ status: 200, body: "ok\n" });
    expect((await app.get("/metrics")).body).toContain(page(TOTALS));
  });

  test("totals that are hidden again are absent, not zero", async () => {
    await using app = await ready();
    app.state.shown = null;
    expect((await app.get("/metrics")).body).not.toContain("workspace_creation");
  });

  test("the status says where it stands", async () => {
    await using app = await ready();
    app.vitals.connected = true;
    const stateNow = async (): Promise<unknown> =>
      JSON.parse((await app.get("/api/status")).body).state;
    expect(await stateNow()).toBe("catching up");
    app.vitals.catchingUp = false;
    app.vitals.received = toLsn(0x16_b374d848n);
    expect(await stateNow()).toBe("following");
    expect((await app.get("/")).body).toContain("16/B374D848");
  });
});

describe("any time", () => {
  test.each([
    ["/metrics", TEXT],
    ["/metrics/process", TEXT],
    ["/livez", expect.stringMatching(/^text\/plain; ?charset=utf-8$/i)],
    ["/api/status", "application/json"],
    ["/api/facts", "application/json"],
    ["/", "text/html; charset=UTF-8"],
  ])("%s answers HEAD as GET, without a body", async (path, type) => {
    await using app = await serving(TOTALS);
    expect(await app.get(path)).toMatchObject({ status: 200, type });
    const head = await app.get(path, { method: "HEAD" });
    expect(head).toMatchObject({ status: 200, type, body: "" });
  });

  test("process metrics are on a page of their own", async () => {
    await using app = await serving(TOTALS);
    expect((await app.get("/metrics/process")).body).toContain("process_start_time_seconds");
    expect((await app.get("/metrics")).body).not.toMatch(/process_|nodejs_/);
  });

  test("another path is not found and says which there are", async () => {
    await using app = await serving();
    for (const path of ["/metric", "/metrics/", "/api", "/../etc/passwd"]) {
      const { status, body } = await app.get(path);
      expect(status, path).toBe(404);
      expect(body).toContain("/metrics");
    }
  });

  test("another method is told which there are", async () => {
    await using app = await serving();
    for (const path of ["/", "/metrics", "/livez", "/api/status", "/api/facts"]) {
      for (const method of ["POST", "PUT", "DELETE", "OPTIONS"]) {
        const { status, headers, body } = await app.get(path, { method });
        expect({ status, allow: headers.allow }).toEqual({ status: 405, allow: "GET, HEAD" });
        expect(body).toBe("only GET and HEAD\n");
      }
    }
    expect((await app.get("/elsewhere", { method: "POST" })).status).toBe(404);
  });

  test("an error inside says nothing of itself", async () => {
    await using app = await serving();
    Object.defineProperty(app.state, "shown", {
      get() {
        throw new Error("s3cret");
      },
    });
    const { status, body } = await app.get("/metrics");
    expect({ status, body }).toEqual({ status: 500, body: "internal error\n" });
    expect(app.logged.join("")).toContain("a request failed");
  });

  test("the status page escapes what it shows and holds nothing from elsewhere", async () => {
    await using app = await serving(TOTALS);
    app.vitals.trouble = {
      reason: "x",
      message: '<script>alert("x")</script>',
      hint: "set <that> & this",
    };
    const { body } = await app.get("/");
    expect(body).not.toContain("<script");
    expect(body).toContain("&lt;script&gt;");
    expect(body).toContain("set &lt;that&gt; &amp; this");
    expect(body, "it loads nothing").not.toMatch(/\b(src|href)="(https?:)?\/\//);
  });

  test("no page shows names of workspaces or users but the metrics", async () => {
    await using app = await serving(TOTALS);
    for (const path of ["/", "/api/status", "/livez", "/readyz", "/metrics/process"])
      expect((await app.get(path)).body).not.toMatch(/alice|acme|docker/);
  });

  test("the JSON status has exactly the fields of its contract", async () => {
    await using app = await serving();
    expect(Object.keys(JSON.parse((await app.get("/api/status")).body)).sort()).toEqual(
      [
        "version",
        "state",
        "ready",
        "received",
        "applied",
        "durable",
        "inFlight",
        "divergent",
        "gaps",
        "trouble",
      ].sort(),
    );
  });
});
