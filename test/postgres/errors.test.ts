import { expect, test } from "vitest";
import { NeedsOperator, Transient } from "../../src/errors.ts";
import { classify, codeOf } from "../../src/postgres/errors.ts";

const coded = (code: string, message = "words") => Object.assign(new Error(message), { code });

test.each([
  ["08006", "connection_lost"],
  ["57P01", "server_stopping"],
  ["57P03", "server_stopping"],
  ["53300", "too_many_connections"],
  ["53100", "server_resources"],
  ["55006", "slot_in_use"],
  ["40001", "conflict"],
  ["XX000", "server_failure"],
  ["ECONNREFUSED", "unreachable"],
  ["ECONNRESET", "connection_lost"],
  ["EPIPE", "connection_lost"],
])("%s is transient: %s", (code, reason) => {
  const error = classify(coded(code));
  expect(error).toBeInstanceOf(Transient);
  expect(error).toMatchObject({ reason, message: "words", cause: { code } });
});

test.each([
  ["28P01", "authentication"],
  ["28000", "not_admitted"],
  ["3D000", "no_such_database"],
  ["42501", "privileges"],
  ["55000", "slot_unusable"],
  ["42704", "object_missing"],
  ["42P01", "schema"],
  ["42703", "schema"],
  ["53400", "no_free_slot"],
  ["08P01", "protocol"],
  ["SELF_SIGNED_CERT_IN_CHAIN", "tls"],
  ["ERR_SSL_WRONG_VERSION_NUMBER", "tls"],
])("%s needs an operator: %s", (code, reason) => {
  const error = classify(coded(code));
  expect(error).toBeInstanceOf(NeedsOperator);
  expect(error).toMatchObject({ reason, hint: expect.stringMatching(/\w/) });
});

test.each(["42601", "22P02", "23505", "EACCES", "ERR_INVALID_ARG_TYPE"])(
  "%s is a bug and stays what it is",
  (code) => {
    const bug = coded(code);
    expect(classify(bug)).toBe(bug);
  },
);

test("the errors without a code that the client library makes are known", () => {
  expect(classify(new Error("Connection terminated unexpectedly"))).toMatchObject({
    reason: "connection_lost",
  });
  expect(classify(new Error("timeout expired"))).toMatchObject({ reason: "unreachable" });
  const bug = new Error("the words Connection terminated are not at the beginning");
  expect(classify(bug)).toBe(bug);
});

test("a server's words are never looked at", () => {
  const bug = coded("42601", "Connection terminated");
  expect(classify(bug)).toBe(bug);
});

test("what is classed already, and an abort, come back unchanged", () => {
  const transient = new Transient("x", { reason: "y" });
  expect(classify(transient)).toBe(transient);
  const abort = new DOMException("stop", "AbortError");
  expect(classify(abort)).toBe(abort);
});

test("the code is found beneath a classed error", () => {
  expect(codeOf(classify(coded("55006")))).toBe("55006");
  expect(codeOf("text")).toBeUndefined();
});
