import { expect, test } from "vitest";
import { NeedsOperator, Transient, must, unreachable } from "../src/errors.ts";

test("an error that time may heal carries a stable reason and its cause", () => {
  const cause = new Error("read ECONNRESET");
  const error = new Transient("the connection was lost", { reason: "connection_lost", cause });
  expect(error).toMatchObject({ name: "Transient", reason: "connection_lost", cause });
});

test("an error for the operator carries a hint", () => {
  const error = new NeedsOperator("no slot", { reason: "slot_missing", hint: "make one" });
  expect(error).toMatchObject({ name: "NeedsOperator", reason: "slot_missing", hint: "make one" });
  expect(error).not.toBeInstanceOf(Transient);
});

test("must lets every value pass but null and undefined", () => {
  for (const value of [0, "", false, Number.NaN]) expect(must(value, "missing")).toBe(value);
  for (const value of [null, undefined]) expect(() => must(value, "missing")).toThrow("missing");
});

test("data that breaks a closed union is an error that shows it", () => {
  expect(() => unreachable({ kind: "surprise" } as never)).toThrow('{"kind":"surprise"}');
});
