// `/api/facts`: single facts of the ledger, newest first, for those who want to know which ones a number is made of.

import { setImmediate as yieldToLoop } from "node:timers/promises";
import type { HttpBindings } from "@hono/node-server";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import type { Context } from "hono";
import { type Micros, SECOND, formatIso } from "../change/micros.ts";
import { NeedsOperator } from "../errors.ts";
import type { Log } from "../log.ts";
import { type Lsn, formatLsn } from "../lsn.ts";
import { type Kind, type Question, questionOf } from "./question.ts";

/** A fact as this endpoint needs it. What a kind does not have is not there. */
export interface Answered {
  readonly kind: Kind;
  readonly id: string;
  readonly at: Micros;
  readonly end: Lsn;
  readonly names?: { readonly organization: string };
  /** Of a job that builds no workspace. */
  readonly type?: string;
  readonly traits?: { readonly transition: string; readonly reason: string };
  readonly workspace?: {
    readonly id: string;
    readonly owner: string;
    readonly name: string;
  } | null;
  readonly number?: number;
  readonly status?: string;
  readonly stage?: string;
  readonly errorCode?: string;
  readonly took?: Micros | null;
}

/** What the ledger has to say, of one moment. */
export interface Found {
  readonly upTo: Lsn | null;
  readonly facts: readonly {
    readonly fact: Answered;
    readonly build: string | null;
    readonly divergent: boolean;
  }[];
  readonly more: boolean;
}

export interface FactsOptions {
  /** Looks for facts in steps of a few milliseconds. May throw `NeedsOperator`. */
  readonly search: (question: Question) => Generator<void, Found>;
  /** Whether the totals are shown at this moment. */
  readonly ready: () => boolean;
  /** Where people find Coder, without a slash at the end; null: no links. */
  readonly coderUrl: string | null;
  readonly log: Log;
}

/** So many may wait for those before them. */
const WAITING = 8;

const HEADERS = { "Cache-Control": "no-store" };

/** Answers `/api/facts`. One search runs at a time, so that they are no burden on what is counted meanwhile. */
export function facts(
  options: FactsOptions,
): (c: Context<{ Bindings: HttpBindings }>) => Promise<Response> {
  const queue = new Queue(WAITING);
  return async (c) => {
    const question = questionOf(new URL(c.req.url).searchParams, Date.now() * 1_000);
    if ("mistakes" in question)
      return c.json({ error: "not understood", ...question }, 400, HEADERS);
    // Its headers are known without a search.
    if (c.req.method === "HEAD")
      return c.body(null, 200, { ...HEADERS, "Content-Type": "application/json" });
    const { socket } = c.env.outgoing.req;
    const place = queue.enter();
    if (place === null) {
      const busy = { error: "too many searches are waiting", hint: "ask again in a moment" };
      return c.json(busy, 503, { ...HEADERS, "Retry-After": "1" });
    }
    using _place = place;
    await place.turn;
    try {
      // What is hidden or shown at the moment that is read.
      const ready = options.ready();
      const found = await searched(options.search(question), () => socket.destroyed);
      if (found === null) return RESPONSE_ALREADY_SENT;
      return c.json({ ready, ...answerOf(found, question, options.coderUrl) }, 200, HEADERS);
    } catch (error) {
      if (!(error instanceof NeedsOperator)) throw error;
      options.log.warn("facts can not be read", { error });
      return c.json({ error: error.message, hint: error.hint }, 503, HEADERS);
    }
  };
}

/** Null when nobody waits for it any more. */
async function searched(
  search: Generator<void, Found>,
  gone: () => boolean,
): Promise<Found | null> {
  using steps = search;
  while (!gone()) {
    const { done, value } = steps.next();
    if (done) return value;
    await yieldToLoop();
  }
  return null;
}

/** Who came first goes first, one at a time. */
class Queue {
  readonly #most: number;
  #inside = 0;
  #last: Promise<void> = Promise.resolve();

  /** `most`: how many may wait beside the one whose turn it is. */
  constructor(most: number) {
    this.#most = most;
  }

  /** Null when it is full. Disposing lets the next one go. */
  enter(): (Disposable & { readonly turn: Promise<void> }) | null {
    if (this.#inside > this.#most) return null;
    this.#inside += 1;
    const turn = this.#last;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#last = promise;
    return {
      turn,
      [Symbol.dispose]: () => {
        this.#inside -= 1;
        resolve();
      },
    };
  }
}

function answerOf(found: Found, { names }: Question, coderUrl: string | null): object {
  const oldest = found.facts.at(-1)?.fact;
  return {
    up_to: found.upTo === null ? null : formatLsn(found.upTo),
    facts: found.facts.map(({ fact, build, divergent }) => ({
      kind: fact.kind,
      id: fact.id,
      time: formatIso(fact.at),
      lsn: formatLsn(fact.end),
      // Undefined is left out.
      status: fact.status,
      stage: emptyIsNull(fact.stage),
      error_code: emptyIsNull(fact.errorCode),
      took_seconds: seconds(fact.took),
      ...(build === null ? {} : { build }),
      job_type: fact.type,
      transition: fact.traits?.transition,
      reason: fact.traits?.reason,
      workspace: fact.workspace?.id,
      build_number: fact.workspace ? fact.number : undefined,
      divergent,
      link: coderUrl === null ? undefined : linkTo(coderUrl, fact, names),
      names: names ? namesOf(fact) : undefined,
    })),
    next: found.more && oldest ? `${formatIso(oldest.at)},${oldest.kind},${oldest.id}` : null,
  };
}

const emptyIsNull = (text: string | undefined): string | null | undefined =>
  text === "" ? null : text;

function seconds(took: Micros | null | undefined): number | null | undefined {
  return typeof took === "number" ? took / SECOND : took;
}

function namesOf({ names, workspace }: Answered): object | undefined {
  return workspace ? { ...names, username: workspace.owner, workspace: workspace.name } : names;
}

/**
 * Where Coder itself shows what a fact is about, by its id; with names, the page for people. A job has one only below its
 * organization's name, and a template and a preset can not be told apart.
 */
function linkTo(
  coderUrl: string,
  { kind, id, names, workspace, number }: Answered,
  named: boolean,
): string | undefined {
  if (kind === "connected" || kind === "overdue") return `${coderUrl}/api/v2/workspaceagents/${id}`;
  // Coder has no page of what is deleted.
  if (kind === "deleted") return `${coderUrl}/api/v2/workspaces/${id}?include_deleted=true`;
  if (named && workspace?.owner && workspace.name) {
    const path = [workspace.owner, workspace.name].map(encodeURIComponent).join("/");
    return `${coderUrl}/@${path}${kind === "created" ? "" : `/builds/${number}`}`;
  }
  if (kind === "created") return `${coderUrl}/api/v2/workspaces/${id}`;
  if (kind === "attempted") return `${coderUrl}/api/v2/workspacebuilds/${id}`;
  const isJob = kind === "ended" || kind === "started" || kind === "ready";
  if (!isJob || !named || !names?.organization) return undefined;
  return `${coderUrl}/organizations/${encodeURIComponent(names.organization)}/provisioner-jobs?ids=${id}`;
}
