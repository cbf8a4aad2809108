// What real clients make of gzip in pieces, and of an answer that ends early.

import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { PAGE_SIZE } from "../../src/metrics/pages.ts";
import { until } from "../support/firstlight.ts";
import { histograms, inWorkspace, page, workspaces } from "../support/folding.ts";
import { missingTool, startPrometheus } from "../support/prometheus.ts";
import { serving } from "../support/serving.ts";

const run = promisify(execFile);
const missing = missingTool("prometheus");
const title = (text: string): string => (missing ? `SKIPPED, ${missing}: ${text}` : text);
const WORKSPACES = PAGE_SIZE * 2 + 10;
const COUNTED = "sum(agents_first_connection_seconds_count)";

test("curl and fetch read all pieces, fresh or kept", async () => {
  const shown = workspaces(WORKSPACES).publish();
  await using app = await serving(shown);
  const url = `http://127.0.0.1:${app.port}/metrics`;
  for (const time of ["fresh", "kept"]) {
    const { stdout } = await run("curl", ["-sS", "--fail", "--compressed", url], {
      maxBuffer: 2 ** 26,
    });
    expect(stdout.endsWith(page(shown)), time).toBe(true);
    const answer = await fetch(url);
    expect(answer.headers.get("content-encoding")).toBe("gzip");
    expect((await answer.text()).endsWith(page(shown)), time).toBe(true);
  }
});

test.skipIf(missing)(
  title(
    "Prometheus reads pieces that are kept and pieces that have changed, and nothing of a page that ends early",
  ),
  async () => {
    const fold = workspaces(WORKSPACES);
    await using app = await serving(fold.publish());
    await using prometheus = await startPrometheus(app.port);
    const counted = async (): Promise<number | undefined> =>
      (await prometheus.query(COUNTED))[0]?.value;
    expect(await counted()).toBe(WORKSPACES);
    fold.add(inWorkspace(3));
    const shown = fold.publish();
    app.state.shown = shown;
    await prometheus.scraped();
    expect(await counted()).toBe(WORKSPACES + 1);

    // Some 512 whole series come before the end.
    const table = histograms(shown);
    const labels = new Proxy(table.labels as string[], {
      get: (list, key) => {
        if (key === String(PAGE_SIZE + 5)) throw new Error("a bug");
        return Reflect.get(list, key);
      },
    });
    app.state.shown = {
      tables: [{ ...table, labels, pages: table.pages.map((each) => each.slice()) }],
    };
    await until(
      "a scrape has failed",
      async () => (await prometheus.query("up == 0")).length === 1,
    );
    await until("its series are stale", async () => (await counted()) === undefined);

    app.state.shown = shown;
    await prometheus.scraped();
    expect(await counted()).toBe(WORKSPACES + 1);
  },
);
