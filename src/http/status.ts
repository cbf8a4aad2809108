// The status page and its JSON twin, for people. Nothing here may hold a secret: only words and numbers from the vitals.

import { html } from "hono/html";
import type { HtmlEscapedString } from "hono/utils/html";
import { type Lsn, ZERO_LSN, formatLsn } from "../lsn.ts";
import type { Vitals } from "../metrics/vitals.ts";

export interface Status {
  readonly version: string;
  readonly state: "starting" | "reading the tables" | "catching up" | "following" | "not following";
  readonly ready: boolean;
  readonly received: string | null;
  /** Everything up to here is counted and visible. */
  readonly applied: string | null;
  readonly durable: string | null;
  readonly inFlight: Vitals["waiting"];
  readonly divergent: Vitals["divergent"];
  readonly gaps: number;
  readonly trouble: Vitals["trouble"];
}

export function statusOf(vitals: Vitals, version: string): Status {
  return {
    version,
    state: stateOf(vitals),
    ready: vitals.ready,
    received: positionText(vitals.received),
    applied: positionText(vitals.applied),
    durable: positionText(vitals.durable),
    inFlight: vitals.waiting,
    divergent: vitals.divergent,
    gaps: [...vitals.gaps.values()].reduce((sum, count) => sum + count, 0),
    trouble: vitals.trouble,
  };
}

/** 0/0 is no position: a stream that has just been started has received nothing yet. */
function positionText(lsn: Lsn | null): string | null {
  return lsn === null || lsn === ZERO_LSN ? null : formatLsn(lsn);
}

function stateOf(vitals: Vitals): Status["state"] {
  if (vitals.baseline) return "reading the tables";
  if (!vitals.connected) return vitals.ready || vitals.trouble ? "not following" : "starting";
  return vitals.catchingUp ? "catching up" : "following";
}

/** A plain page that says what runs, how it is, and where to go. */
export function statusPage(status: Status): HtmlEscapedString | Promise<HtmlEscapedString> {
  const rows: readonly (readonly [string, string])[] = [
    ["State", status.state],
    ["Totals shown", status.ready ? "yes" : "not yet"],
    ["Received up to", status.received ?? "–"],
    ["Counted and visible up to", status.applied ?? "–"],
    ["Durable up to", status.durable ?? "–"],
    ["Builds in flight", String(status.inFlight.build)],
    ["Agents that have not connected", String(status.inFlight.agent)],
    ["Gaps healed", String(status.gaps)],
  ];
  const trouble = status.trouble;
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width" />
        <title>Firstlight</title>
        <style>
          body {
            font:
              16px/1.5 system-ui,
              sans-serif;
            max-width: 42rem;
            margin: 3rem auto;
            padding: 0 1rem;
            color-scheme: light dark;
          }
          th {
            text-align: left;
            font-weight: normal;
            padding-right: 2rem;
            opacity: 0.7;
          }
        </style>
      </head>
      <body>
        <h1>Firstlight</h1>
        <p>
          Exact, all-time metrics of a Coder deployment, from its database's write-ahead log.
          Version ${status.version}.
        </p>
        <table>
          ${rows.map(
            ([name, value]) =>
              html`<tr>
                <th scope="row">${name}</th>
                <td>${value}</td>
              </tr>`,
          )}
        </table>
        ${trouble ? html`<p><strong>${trouble.message}</strong> ${trouble.hint ?? "Trying again."}</p>` : ""}
        <p>
          <a href="/metrics">/metrics</a> · <a href="/metrics/process">/metrics/process</a> ·
          <a href="/readyz">/readyz</a> · <a href="/livez">/livez</a> ·
          <a href="/api/status">/api/status</a> · <a href="/api/facts">/api/facts</a>
        </p>
      </body>
    </html>`;
}
