// Two projects: `unit` needs nothing but Node; `pg` shares one embedded Postgres server, a database per test.

import { defineConfig } from "vitest/config";

const POSTGRES_TESTS = ["test/**/*.pg.test.ts", "test/**/*.e2e.test.ts"];

export default defineConfig({
  test: {
    // Run as Node runs it: type stripping, `import.meta.resolve`, nothing in between.
    experimental: { viteModuleRunner: false },
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          // The matrix has packages of its own, some with tests.
          exclude: [...POSTGRES_TESTS, "**/node_modules/**"],
        },
      },
      {
        test: {
          name: "pg",
          include: POSTGRES_TESTS,
          globalSetup: "test/support/global-setup.ts",
          setupFiles: "test/matrix/setup.ts",
          testTimeout: 60_000,
          hookTimeout: 60_000,
          pool: "forks",
          // Each server process is a neighbour to these; two workers keep a small machine responsive.
          maxWorkers: 2,
          // After the unit tests: groups with other numbers of workers can not run at the same time.
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
