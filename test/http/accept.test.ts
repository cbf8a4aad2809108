import { describe, expect, test } from "vitest";
import { acceptsGzip, scrapeTimeoutMs } from "../../src/http/accept.ts";

describe("Accept-Encoding", () => {
  test.each([
    "gzip",
    "GZip",
    "x-gzip",
    "*",
    "gzip, deflate, br",
    "br;q=1.0, gzip;q=0.8, *;q=0.1",
    " deflate ; q=0.5 , gzip ; q=0.001",
    "gzip;q=1.000",
    "gzip;level=9;q=0.5",
    "identity;q=0.5, *;q=0.5",
    "gzip, identity",
  ])("takes gzip: %s", (header) => {
    expect(acceptsGzip(header)).toBe(true);
  });

  test.each([
    undefined,
    "",
    "identity",
    "deflate, br, zstd",
    "gzip;q=0",
    "gzip; q=0.000",
    "*;q=0",
    "gzip;q=0, *",
    "identity, gzip;q=0.5",
    "identity;q=0",
    "gzipped",
    "gzip;q=2",
    "gzip;q=0.1234",
    "gzip;q=-1",
    "gzip;q=",
    "gzip;q=high",
  ])("does not: %s", (header) => {
    expect(acceptsGzip(header)).toBe(false);
  });
});

describe("X-Prometheus-Scrape-Timeout-Seconds", () => {
  test.each([
    ["10", 10_000],
    ["1.5", 1_500],
    ["0.001", 1],
    ["2147483", 2_147_483_000],
  ])("%s seconds are a limit", (header, ms) => {
    expect(scrapeTimeoutMs(header)).toBe(ms);
  });

  test.each([
    undefined,
    "",
    "0",
    "-1",
    "ten",
    "1e3",
    "Infinity",
    "NaN",
    "1.",
    " 1",
    "10s",
    "2147484",
    "9".repeat(400),
  ])("%s is none", (header) => {
    expect(scrapeTimeoutMs(header)).toBeNull();
  });
});
