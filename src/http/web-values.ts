// Values that the web configuration may hold: Go's names on the left, OpenSSL's on the right.

import { z } from "zod";

/** About two seconds of one core for the first request of each user; each step doubles it. */
export const MAX_BCRYPT_COST = 14;

export const TLS13_SUITES = [
  "TLS_AES_128_GCM_SHA256",
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
];

/** Those that Go calls secure. */
export const CIPHER_SUITES: Readonly<Record<string, string>> = {
  ...Object.fromEntries(TLS13_SUITES.map((name) => [name, name])),
  TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA: "ECDHE-ECDSA-AES128-SHA",
  TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA: "ECDHE-ECDSA-AES256-SHA",
  TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA: "ECDHE-RSA-AES128-SHA",
  TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA: "ECDHE-RSA-AES256-SHA",
  TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: "ECDHE-ECDSA-AES128-GCM-SHA256",
  TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384: "ECDHE-ECDSA-AES256-GCM-SHA384",
  TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: "ECDHE-RSA-AES128-GCM-SHA256",
  TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384: "ECDHE-RSA-AES256-GCM-SHA384",
  TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256: "ECDHE-RSA-CHACHA20-POLY1305",
  TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: "ECDHE-ECDSA-CHACHA20-POLY1305",
};

export const CURVES: Readonly<Record<string, string>> = {
  CurveP256: "P-256",
  CurveP384: "P-384",
  CurveP521: "P-521",
  X25519: "X25519",
};

/** What may stand in `headers`; null: anything that a header can hold. */
const HEADERS: Readonly<Record<string, readonly string[] | null>> = {
  "Content-Security-Policy": null,
  "Strict-Transport-Security": null,
  "X-Content-Type-Options": ["nosniff"],
  "X-Frame-Options": ["deny", "sameorigin"],
  "X-XSS-Protection": null,
};

export const NAMES = { error: "must hold names with values" } as const;

/** Response headers by name, those that are blank left out. */
export const headers = z
  .record(z.string(), z.string({ error: "must be text" }).nullable(), NAMES)
  .transform((given, context) => {
    const kept = Object.entries(given).filter(([, value]) => value);
    for (const [name, value] of kept) {
      const message = headerMistake(name, value ?? "");
      if (message !== undefined)
        context.issues.push({ code: "custom", message, input: value, path: [name] });
    }
    return Object.fromEntries(kept.map(([name, value]) => [name, value ?? ""]));
  });

function headerMistake(name: string, value: string): string | undefined {
  const allowed = HEADERS[name];
  if (allowed === undefined)
    return `can not be set here; there are ${Object.keys(HEADERS).join(", ")}`;
  if (allowed !== null && !allowed.includes(value)) return `must be ${allowed.join(" or ")}`;
  return /^[\t\x20-\x7e\x80-\xff]*$/.test(value) ? undefined : "must be one line of plain text";
}
