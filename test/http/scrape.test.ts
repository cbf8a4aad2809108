// What is special to scrapes, over a socket: one moment a page, and answers that are given up.

import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises";
import { gunzipSync } from "node:zlib";
import { describe, expect, test, vi } from "vitest";
import { must } from "../../src/errors.ts";
import { toLsn } from "../../src/lsn.ts";
import { PAGE_SIZE, type Table, type Totals } from "../../src/metrics/pages.ts";
import { histograms, inWorkspace, page, workspaces } from "../support/folding.ts";
import { serving, wholeAnswer } from "../support/serving.ts";

const GZIP = { headers: { "Accept-Encoding": "gzip" } };

describe("one moment", () => {
  test.each([{ headers: {} }, GZIP])(
    "a scrape holds one root, whatever is committed while it is read: %j",
    async (asking) => {
      const fold = workspaces(3_000);
      await using app = await serving(fold.publish());
      const before = page(must(app.state.shown, "nothing shown"));
      const message = await app.open("/metrics", asking);
      const chunks: Buffer[] = [];
      for await (const chunk of message) {
        chunks.push(chunk as Buffer);
        for (let n = 0; n < 60; n += 1) fold.add(inWorkspace(n * 50 + chunks.length));
        app.state.shown = fold.publish();
      }
      const bytes = Buffer.concat(chunks);
      const body = (asking === GZIP ? gunzipSync(bytes) : bytes).toString();
      expect(chunks.length).toBeGreaterThan(10);
      expect(body.endsWith(before)).toBe(true);
      expect(page(must(app.state.shown, "nothing shown"))).not.toBe(before);
    },
  );

  test("what our health says is of the moment of the root", async () => {
    await using app = await serving();
    const shown = workspaces(1).publish();
    app.vitals.applied = toLsn(1_000n);
    Object.defineProperty(app.state, "shown", {
      get() {
        // As a commit does that comes in between.
        queueMicrotask(() => (app.vitals.applied = toLsn(2_000n)));
        return shown;
      },
    });
    const { body } = await app.get("/metrics");
    expect(body).toContain("firstlight_applied_lsn_bytes 1000\n");
    expect(app.vitals.applied, "the premise").toBe(2_000n);
  });
});

test("HEAD has the headers of GET, and nothing is looked at for it", async () => {
  await using app = await serving(workspaces(1).publish());
  for (const asking of [{ headers: {} }, GZIP]) {
    const { headers: told } = await app.get("/metrics", asking);
    const untouched = Object.getOwnPropertyDescriptor(app.state, "shown") ?? {};
    Object.defineProperty(app.state, "shown", {
      configurable: true,
      get: () => expect.unreachable("the totals were asked for"),
    });
    const { headers, bytes, status } = await app.get("/metrics", { ...asking, method: "HEAD" });
    Object.defineProperty(app.state, "shown", untouched);
    expect(status).toBe(200);
    expect(bytes).toHaveLength(0);
    for (const name of ["content-type", "content-encoding", "vary", "cache-control"])
      expect(headers[name], name).toBe(told[name]);
  }
});

/** 400 MB of text that takes no memory: the same page again and again. Counts the series that were rendered. */
function endless(): { readonly totals: Totals; readonly series: number; rendered: () => number } {
  const pages = 100;
  const fold = workspaces(PAGE_SIZE);
  const totals = fold.publish();
  const table = histograms(totals);
  let rendered = 0;
  const label = `workspace_name="${"w".repeat(600)}"`;
  const labels = new Proxy([] as string[], {
    get: (list, key) =>
      typeof key === "string" && /^\d+$/.test(key) ? told() : Reflect.get(list, key),
  });
  function told(): string {
    rendered += 1;
    return label;
  }
  const size = pages * PAGE_SIZE;
  const many = {
    ...table,
    labels,
    size,
    pages: Array.from({ length: pages }, () => table.pages[0]),
  };
  return { totals: { tables: [many as Table] }, series: size, rendered: () => rendered };
}

/** Resolves once nothing more is rendered. */
async function quiet(rendered: () => number): Promise<number> {
  for (let before = -1; before !== rendered(); await sleep(100)) before = rendered();
  return rendered();
}

describe("a scrape that is given up", () => {
  test("a reader that is slow is waited for, and what it has not read is not rendered", async () => {
    const { totals, series, rendered } = endless();
    await using app = await serving(totals);
    const message = await app.open("/metrics");
    // What the kernel's buffers hold is sent.
    expect(await quiet(rendered)).toBeLessThan(series / 4);
    const waited = rendered();
    for (let i = 0; i < 200; i += 1) if (message.read() === null) await turn();
    message.resume();
    await once(message, "data");
    expect(rendered()).toBeGreaterThanOrEqual(waited);
    message.destroy();
  });

  test("a reader that goes away ends the work", async () => {
    const { totals, series, rendered } = endless();
    await using app = await serving(totals);
    const message = await app.open("/metrics");
    message.resume();
    await once(message, "data");
    message.destroy();
    expect(await quiet(rendered)).toBeLessThan(series / 2);
    expect((await app.get("/livez")).body).toBe("ok\n");
    expect(app.logged).toEqual([]);
  });

  test("the scraper's own limit ends it, as a failure and not as a shorter page", async () => {
    const { totals, series, rendered } = endless();
    await using app = await serving(totals);
    const limit = { headers: { "X-Prometheus-Scrape-Timeout-Seconds": "0.2" } };
    const message = await app.open("/metrics", limit);
    await sleep(300);
    await expect(wholeAnswer(message)).rejects.toThrow(/aborted|ECONNRESET/);
    expect(await quiet(rendered)).toBeLessThan(series / 2);
    expect(app.logged).toEqual([]);
  });

  test("HTTP 1.0, where the end of the connection is the end of the page, sees a failure", async () => {
    const { totals } = endless();
    await using app = await serving(totals);
    const socket = connect(app.port, "127.0.0.1");
    socket.write("GET /metrics HTTP/1.0\r\nX-Prometheus-Scrape-Timeout-Seconds: 0.2\r\n\r\n");
    await sleep(300);
    socket.resume();
    const [error] = await once(socket, "error");
    expect(error).toMatchObject({ code: "ECONNRESET" });
  });

  test("a limit that is not reached, or says nothing, changes nothing", async () => {
    const shown = workspaces(2_000).publish();
    await using app = await serving(shown);
    for (const limit of ["10", "0", "-1", "soon", ""]) {
      const headers = { "X-Prometheus-Scrape-Timeout-Seconds": limit };
      for (const asking of [{ headers }, { headers: { ...headers, ...GZIP.headers } }])
        expect((await app.get("/metrics", asking)).status, limit).toBe(200);
    }
  });

  test("an error while it is rendered is a failed scrape, said once, and the next one is whole", async () => {
    const shown = workspaces(PAGE_SIZE * 3).publish();
    const table = histograms(shown);
    const labels = new Proxy(table.labels as string[], {
      get: (list, key) => {
        if (key === String(PAGE_SIZE * 2)) throw new Error("a bug");
        return Reflect.get(list, key);
      },
    });
    const broken = { tables: [{ ...table, labels }] };
    const toConsole = vi.spyOn(console, "error");
    for (const asking of [{ headers: {} }, GZIP]) {
      await using app = await serving(broken);
      await expect(app.get("/metrics", asking)).rejects.toThrow(/aborted|ECONNRESET/);
      expect(app.logged).toHaveLength(1);
      expect(app.logged[0]).toContain("a bug");
      expect(toConsole).not.toHaveBeenCalled();
      app.state.shown = shown;
      const { bytes } = await app.get("/metrics", asking);
      const body = (asking === GZIP ? gunzipSync(bytes) : bytes).toString();
      expect(body.endsWith(page(shown))).toBe(true);
    }
  });
});
