// Gzip made of kept pieces, over a socket.

import { createHook } from "node:async_hooks";
import { gunzipSync, inflateRawSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { must } from "../../src/errors.ts";
import type { Fold } from "../../src/metrics/fold.ts";
import { PAGE_SIZE } from "../../src/metrics/pages.ts";
import { histograms, inWorkspace, page, workspaces } from "../support/folding.ts";
import { pendingAgent, uuid } from "../support/rows.ts";
import { serving, wholeAnswer } from "../support/serving.ts";

const GZIP = { headers: { "Accept-Encoding": "gzip" } };

/** Runs it and counts the compressors that Node made meanwhile. */
async function compressions(run: () => Promise<unknown>): Promise<number> {
  let count = 0;
  const hook = createHook({ init: (_id, type) => void (count += type === "ZLIB" ? 1 : 0) });
  hook.enable();
  await run();
  hook.disable();
  return count;
}

describe("gzip", () => {
  test("unpacks to the bytes of the page without it, from one member that every client reads", async () => {
    await using app = await serving(workspaces(PAGE_SIZE * 2 + 10).publish());
    const plain = await app.get("/metrics");
    expect(plain.headers["content-encoding"]).toBeUndefined();
    for (const time of ["the first time", "from kept pieces"]) {
      const packed = await app.get("/metrics", GZIP);
      expect(packed.headers["content-encoding"]).toBe("gzip");
      // Checks length and CRC, too.
      expect(gunzipSync(packed.bytes).equals(plain.bytes), time).toBe(true);
      // Throws where the stream of deflate ends before; it reads no second member.
      expect(inflateRawSync(packed.bytes.subarray(10, -8)).equals(plain.bytes), time).toBe(true);
      expect(packed.bytes.length).toBeLessThan(plain.bytes.length / 10);
    }
  });

  test("before anything is shown is a whole file, too", async () => {
    await using app = await serving();
    const { bytes } = await app.get("/metrics", GZIP);
    expect(gunzipSync(bytes).toString()).toBe((await app.get("/metrics")).body);
  });

  test("compresses what has not changed once, and what has anew", async () => {
    const fold = workspaces(PAGE_SIZE * 2 + 10);
    await using app = await serving(fold.publish());
    const scrape = (): Promise<unknown> => app.get("/metrics", GZIP);
    expect(await compressions(scrape)).toBeGreaterThan(10);
    expect(await compressions(scrape), "our health alone").toBe(1);

    // The last page has few series, and so one chunk.
    fold.add(inWorkspace(PAGE_SIZE * 2 + 1));
    app.state.shown = fold.publish();
    expect(await compressions(scrape), "a series has changed").toBe(2);

    fold.add(inWorkspace(PAGE_SIZE * 2 + 10));
    const { bytes } = await scrapeOf(app, fold);
    expect(gunzipSync(bytes).toString()).toContain(`workspace_name="dev-${PAGE_SIZE * 2 + 10}-`);
    expect(await compressions(scrape)).toBe(1);
  });

  test("knows a page that has grown by series at 0, and is otherwise the same", async () => {
    const fold = workspaces(3);
    await using app = await serving(fold.publish());
    await app.get("/metrics", GZIP);
    const before = histograms(must(app.state.shown, "nothing shown"));
    fold.put(pendingAgent({ id: uuid(99) }));
    const { bytes } = await scrapeOf(app, fold);
    const after = histograms(must(app.state.shown, "nothing shown"));
    expect(after.pages[0], "the premise").toBe(before.pages[0]);
    expect(
      gunzipSync(bytes)
        .toString()
        .endsWith(page(must(app.state.shown, "none"))),
    ).toBe(true);
  });

  test("does nothing twice for two scrapers at once, and both get the page", async () => {
    const shown = workspaces(PAGE_SIZE * 3).publish();
    await using alone = await serving(shown);
    const once_ = await compressions(async () => alone.get("/metrics", GZIP));
    await using app = await serving(shown);
    const answers: Buffer[] = [];
    const scrape = async (): Promise<unknown> =>
      answers.push((await app.get("/metrics", GZIP)).bytes);
    const both = await compressions(async () => Promise.all([scrape(), scrape()]));
    expect(both, "our health for each").toBe(once_ + 1);
    for (const bytes of answers) {
      expect(gunzipSync(bytes).toString().endsWith(page(shown))).toBe(true);
    }
  });

  test("keeps apart what scrapers of two moments ask for at once", async () => {
    const [first, second] = [workspaces(PAGE_SIZE * 4), workspaces(PAGE_SIZE * 4 + 3)];
    await using app = await serving(first.publish());
    const before = page(must(app.state.shown, "nothing shown"));
    // Its headers are there, so its moment is chosen; nothing of its body is read yet.
    const one = await app.open("/metrics", GZIP);
    const two = await scrapeOf(app, second);
    const after = page(must(app.state.shown, "nothing shown"));
    expect(
      gunzipSync((await wholeAnswer(one)).bytes)
        .toString()
        .endsWith(before),
    ).toBe(true);
    expect(gunzipSync(two.bytes).toString().endsWith(after)).toBe(true);
  });

  test("is as asked by weight", async () => {
    await using app = await serving(workspaces(1).publish());
    for (const [asked, told] of [
      ["gzip;q=0", undefined],
      ["gzip;q=0, *;q=1", undefined],
      ["*", "gzip"],
      ["deflate;q=1, gzip;q=0.5", "gzip"],
      ["br", undefined],
    ] as const) {
      const answer = await app.get("/metrics", { headers: { "Accept-Encoding": asked } });
      expect(answer.headers["content-encoding"], asked).toBe(told);
      expect(answer.headers.vary, asked).toBe("Accept-Encoding");
    }
  });
});

async function scrapeOf(
  app: Awaited<ReturnType<typeof serving>>,
  fold: Fold,
): Promise<{ bytes: Buffer }> {
  app.state.shown = fold.publish();
  return app.get("/metrics", GZIP);
}
