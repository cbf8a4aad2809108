// What a scraper's request headers ask for, as pure functions of their text.

/** A weight as RFC 9110 (12.4.2) spells it. */
const WEIGHT = /^(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/;
const SECONDS = /^\d+(?:\.\d+)?$/;
/** A timer of Node fires at once beyond this. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Whether this Accept-Encoding takes gzip and does not prefer the text as it is. */
export function acceptsGzip(header: string | undefined): boolean {
  const weights = new Map<string, number>();
  for (const element of (header ?? "").toLowerCase().split(",")) {
    const [coding = "", ...parameters] = element.split(";").map((part) => part.trim());
    const told = parameters.find((parameter) => parameter.startsWith("q="))?.slice(2) ?? "1";
    // What is not spelled as it should be is not asked for.
    if (WEIGHT.test(told)) weights.set(coding, Number(told));
  }
  const gzip = weights.get("gzip") ?? weights.get("x-gzip") ?? weights.get("*") ?? 0;
  return gzip > 0 && gzip >= (weights.get("identity") ?? 0);
}

/** `X-Prometheus-Scrape-Timeout-Seconds` in milliseconds; null where it says nothing that can be kept. */
export function scrapeTimeoutMs(header: string | undefined): number | null {
  if (header === undefined || !SECONDS.test(header)) return null;
  const ms = Number(header) * 1000;
  return ms > 0 && ms <= LONGEST_TIMER_MS ? ms : null;
}
