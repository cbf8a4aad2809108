import { hashSync } from "bcryptjs";
import { expect, test } from "vitest";
import { Logins } from "../../src/http/logins.ts";

const users = new Map([
  ["alice", hashSync("wonderland", 4)],
  ["bob", hashSync("builder", 4)],
]);

test("who has the password is let in, and nobody else", async () => {
  using logins = new Logins();
  const check = (user: string, password: string) => logins.check(users, { user, password });
  expect(await check("alice", "wonderland")).toBe("right");
  expect(await check("bob", "builder")).toBe("right");
  expect(await check("alice", "builder")).toBe("wrong");
  expect(await check("alice", "")).toBe("wrong");
  // The hash that a stranger is compared with is alice's: her password must not let a stranger in.
  expect(await check("carol", "wonderland")).toBe("wrong");
  expect(await check("carol", "wonderland")).toBe("wrong");
  expect(await check("", "")).toBe("wrong");
});

test("the prefixes of all tools that make hashes are taken", async () => {
  using logins = new Logins();
  const hash = hashSync("wonderland", 4);
  for (const prefix of ["$2a$", "$2b$", "$2y$"]) {
    const spelt = new Map([["alice", prefix + hash.slice(4)]]);
    expect(await logins.check(spelt, { user: "alice", password: "wonderland" })).toBe("right");
  }
});

test(
  "a right login is remembered, until its hash changes; a wrong one is not",
  { timeout: 30_000 },
  async () => {
    using logins = new Logins();
    const slow = new Map([["alice", hashSync("wonderland", 10)]]);
    const timed = async (password: string): Promise<number> => {
      const began = performance.now();
      await logins.check(slow, { user: "alice", password });
      return performance.now() - began;
    };
    // The thread has started.
    await timed("rabbit");
    const first = await timed("wonderland");
    expect(await timed("wonderland")).toBeLessThan(first / 4);
    const other = new Map([["alice", hashSync("changed", 4)]]);
    expect(await logins.check(other, { user: "alice", password: "wonderland" })).toBe("wrong");
  },
);

test(
  "guesses wait for one another, not this thread for them, and too many are sent away",
  { timeout: 30_000 },
  async () => {
    using logins = new Logins();
    const slow = new Map([["alice", hashSync("wonderland", 8)]]);
    await logins.check(slow, { user: "alice", password: "wonderland" });
    const guesses = Array.from({ length: 20 }, (_, index) =>
      logins.check(slow, { user: "alice", password: `guess ${index}` }),
    );
    let turns = 0;
    const counting = setInterval(() => (turns += 1), 1);
    // Who is known does not queue behind them.
    expect(await logins.check(slow, { user: "alice", password: "wonderland" })).toBe("right");
    const verdicts = await Promise.all(guesses);
    clearInterval(counting);
    expect(verdicts.filter((verdict) => verdict === "wrong")).toHaveLength(8);
    expect(verdicts.filter((verdict) => verdict === "busy")).toHaveLength(12);
    expect(turns).toBeGreaterThan(20);
    expect(await logins.check(slow, { user: "alice", password: "guess 0" })).toBe("wrong");
  },
);
