import { expect, test } from "vitest";
import { Running } from "../../src/change/running.ts";

const A = "00000000-0000-4000-8000-00000000000a";
const B = "00000000-0000-4000-8000-00000000000b";
const PRINT = 7;

/** What is known of a job when its id comes in this form, somewhere in a message. */
const asks = (
  running: Running,
  id: string,
  form: "text" | "binary",
  canceling = false,
): boolean => {
  const bytes = form === "text" ? Buffer.from(id) : Buffer.from(id.replaceAll("-", ""), "hex");
  const message = Buffer.concat([Buffer.from("U…"), bytes, Buffer.from("…")]);
  const cell = { id: Buffer.byteLength("U…"), idLength: bytes.length };
  return running.knows(PRINT, message, cell, canceling);
};

test("a job is known in either form, by whether it is being canceled, until it is deleted", () => {
  const running = new Running();
  running.add(PRINT, A, false);
  for (const form of ["text", "binary"] as const)
    expect([asks(running, A, form), asks(running, A, form, true)]).toEqual([true, false]);
  running.add(PRINT, A, true);
  expect([asks(running, A, "text"), asks(running, A, "text", true)]).toEqual([false, true]);
  running.delete(PRINT, A);
  expect([asks(running, A, "text"), asks(running, A, "text", true)]).toEqual([false, false]);
});

test("two jobs with one fingerprint are told apart", () => {
  const running = new Running();
  running.add(PRINT, A, false);
  expect(asks(running, B, "binary")).toBe(false);
  running.add(PRINT, B, true);
  expect([asks(running, A, "binary"), asks(running, B, "binary", true)]).toEqual([true, true]);
  running.delete(PRINT, A);
  expect([asks(running, A, "text"), asks(running, B, "text", true)]).toEqual([false, true]);
});

test("deleting a job that is not there changes nothing", () => {
  const running = new Running();
  running.add(PRINT, A, false);
  running.delete(PRINT, B);
  running.delete(PRINT + 1, A);
  expect(asks(running, A, "text")).toBe(true);
});
