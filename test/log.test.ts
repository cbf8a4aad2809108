import { expect, test } from "vitest";
import { NeedsOperator, Transient } from "../src/errors.ts";
import { createLog, type Fields, type LogFormat, maskPasswords } from "../src/log.ts";

function capture(format: LogFormat = "json") {
  const lines: string[] = [];
  const log = createLog({ level: "info", format, write: (line) => void lines.push(line) });
  return { log, lines, last: (): Fields => JSON.parse(lines.at(-1) ?? "null") };
}

test("an error keeps its words and loses what Postgres adds", () => {
  const { log, lines, last } = capture();
  const cause = Object.assign(new Error("duplicate key"), {
    code: "23505",
    detail: "Key (token)=(secret) already exists",
    where: "secret",
    query: "select 'secret'",
    parameters: ["secret"],
  });
  log.error("failed", {
    error: new NeedsOperator("no slot", { reason: "no_free_slot", hint: "drop one", cause }),
  });
  expect(last()["error"]).toEqual({
    name: "NeedsOperator",
    message: "no slot",
    reason: "no_free_slot",
    hint: "drop one",
    cause: { name: "Error", message: "duplicate key", code: "23505" },
  });
  expect(lines.join("")).not.toContain("secret");
});

test("passwords in URLs are masked wherever they stand", () => {
  const { log, lines } = capture();
  const url = "postgres://fl:p@ss/w0rd@db.example/coder";
  log.child("session", { url }).info("connecting", {
    list: [url],
    nested: { url },
    object: new URL("postgresql://fl:w0rd@db/x"),
    error: new Transient(`lost ${url}`, { reason: "connection_lost" }),
  });
  expect(lines.join("")).not.toContain("w0rd");
  expect(lines.join("").match(/postgres(ql)?:\/\/fl:\*\*\*@/g)).toHaveLength(5);
  expect(maskPasswords("postgres://h/d?user=u&password=w0rd&x=1")).toBe(
    "postgres://h/d?user=u&password=***&x=1",
  );
  expect(maskPasswords("postgres://fl@db/x")).toBe("postgres://fl@db/x");
});

test("scopes nest, fields are inherited, and a big number is text", () => {
  const { log, last } = capture();
  log
    .child("follow", { slot: "a" })
    .child("wire")
    .info("ready", { bytes: 1n << 63n });
  expect(last()).toMatchObject({
    level: "info",
    message: "ready",
    scope: "follow.wire",
    slot: "a",
    bytes: "9223372036854775808",
  });
});

test("text is one readable line", () => {
  const { log, lines } = capture("text");
  log.child("follow").warn("slot taken over", { slot: "firstlight", pid: 4711, note: "two words" });
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(
    /^\d{4}-\S+Z WARN {2}follow: slot taken over slot=firstlight pid=4711 note="two words"\n$/,
  );
});

test("what is below the level is not written", () => {
  const { log, lines } = capture();
  log.debug("detail");
  expect(lines).toEqual([]);
});

test("a value that holds itself is cut, not followed forever", () => {
  const { log, lines } = capture();
  const loop: Record<string, unknown> = {};
  loop["self"] = loop;
  log.info("odd", { loop });
  expect(lines).toHaveLength(1);
});
