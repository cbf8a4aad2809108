// Random lives of workspaces, as fast-check arbitraries: the rows that a stream brings, the rows that the tables hold in
// the end, and, told apart from derivation, the facts that must come of it.

import fc from "fast-check";
import { SECOND } from "../../src/change/micros.ts";
import { PREBUILDS_USER, type AgentRow, type JobRow, type Uuid } from "../../src/change/row.ts";
import type { AgentEvent, BuildEvent, Event } from "../../src/derive/step.ts";
import { JOB_LIFE, jobStories, whileItRuns } from "./job-stories.ts";
import {
  AGENT_NAMES,
  END,
  NAMES,
  START,
  after,
  agentRow,
  buildEvent,
  jobRow,
  uuid,
} from "./rows.ts";

/** One workspace, or one job that builds none. */
export interface Story {
  /** In causal order, as the stream brings them. */
  readonly events: readonly Event[];
  /** What must be counted, as `kind id status-or-duration` and more. */
  readonly expected: readonly string[];
}

const agents = fc.record({
  /** Seconds from birth to first connection, negative where clocks disagree; null: never. */
  took: fc.option(fc.integer({ min: -2, max: 4_000 })),
  heartbeats: fc.nat(2),
  subAgent: fc.boolean(),
  bornConnected: fc.boolean(),
  /** An overlapping connection writes another time over the first one. */
  flips: fc.boolean(),
  /** Seconds in which it must connect; null: any time. */
  timeout: fc.option(fc.constantFrom(1, 5, 60, 1_000)),
  /** It is late, and that is noticed before it connects. */
  noticed: fc.boolean(),
  /** How its start goes, once it has connected: `late`: times out, and is over after all. */
  start: fc.constantFrom("none", "starts", "ready", "timeout", "error", "late"),
  /** Seconds from its first connection, by its own clock. */
  readyAfter: fc.integer({ min: -60, max: 4_000 }),
  startsAgain: fc.boolean(),
});

const builds = fc.record({
  transition: fc.constantFrom("start", "start", "stop", "delete"),
  ...JOB_LIFE,
  agents: fc.array(agents, { maxLength: 2 }),
});

const lives = fc.record({
  prebuild: fc.boolean(),
  template: fc.constantFrom("docker", "kubernetes"),
  builds: fc.array(builds, { minLength: 1, maxLength: 3 }),
});

type Life = typeof lives extends fc.Arbitrary<infer T> ? T : never;

export interface StoryOptions {
  /** Whether rows that were final are written again with other values. */
  readonly rewrites: boolean;
}

/** Up to five workspaces and four other jobs, each with ids of its own. */
export function stories(options: StoryOptions): fc.Arbitrary<readonly Story[]> {
  const workspaces = fc
    .array(lives, { minLength: 1, maxLength: 5 })
    .map((all) => all.map((life, n) => tell(life, (n + 1) * 0x1000, options)));
  return fc.tuple(workspaces, jobStories(options)).map((told) => told.flat());
}

function tell(life: Life, base: number, options: StoryOptions): Story {
  let last = base;
  const newId = (): Uuid => uuid((last += 1));
  const names = { ...NAMES, template: life.template };
  const workspace = newId();
  const events: Event[] = [];
  const expected: string[] = [];
  let created = false;
  const succeeds = (transition: string): void => {
    if (transition !== "start" || created) return;
    created = true;
    expected.push(`created ${workspace}`);
  };
  for (const [index, { transition, ending, ...told }] of life.builds.entries()) {
    const [id, job] = [newId(), newId()];
    const initiator = life.prebuild && index === 0 ? PREBUILDS_USER : uuid(0xa11ce);
    const claims = life.prebuild && index === 1 && transition === "start";
    const row = { id, workspace, job, number: index + 1, transition, initiator };
    events.push(buildEvent(row, { names, claimed: claims ? names.preset : null }));
    const tellJob = (given: Partial<JobRow>): unknown =>
      events.push({ row: jobRow({ id: job, initiator, ...given }), end: END });
    expected.push(`attempted ${id}`);
    const startedAt = after(told.startedAfter);
    for (const beat of whileItRuns({ ending, ...told }, startedAt)) tellJob(beat);
    const started = `started ${job} ${told.startedAfter * 1_000_000}`;
    if ("worker" in ending.job) expected.push(started);
    if (ending.status === null) {
      tellJob({ ...ending.job, startedAt });
      continue;
    }
    // Who started later than it ended was told by another clock.
    tellJob({ ...ending.job, startedAt, completedAt: after(30) });
    const ran = "worker" in ending.job ? (30 - told.startedAfter) * 1_000_000 : null;
    expected.push(`ended ${job} ${ending.status} ${ran}`);
    if (ending.status === "success") succeeds(transition);
    let gone = transition === "delete" && ending.status !== "failure";
    if (options.rewrites && told.completesLate) {
      tellJob({ worker: uuid(9), startedAt, completedAt: after(400) });
      succeeds(transition);
      gone ||= transition === "delete";
      if (!("worker" in ending.job)) expected.push(started);
    }
    const times = {
      workspace,
      job,
      transition,
      createdAt: START,
      startedAt,
      completedAt: after(30),
    };
    const born = ending.status === "success" ? told.agents : [];
    const after30: Event[][] = [];
    for (const agent of born) {
      const agentId = newId();
      const isNew = { id: agentId, names: { ...AGENT_NAMES, ...names }, times };
      const [birth, ...rest] = tellAgent(agent, isNew, options);
      // All are born in one transaction, before any of them lives.
      if (birth) events.push(birth);
      after30.push(rest);
      if (isLate(agent)) expected.push(`overdue ${agentId} ${(agent.timeout ?? 0) * 1_000_000}`);
      if (agent.took === null) continue;
      const type = life.prebuild && index === 0 ? "prebuild" : claims ? "claim" : "regular";
      const phases = [told.startedAfter, 30 - told.startedAfter, agent.took];
      const lights = transition === "start" && !agent.subAgent;
      const light = lights ? `${type} ${phases.map((took) => took * 1_000_000).join(" ")}` : "none";
      expected.push(`connected ${agentId} ${agent.took * 1_000_000} ${light}`);
    }
    const lived = inTurns(after30);
    events.push(...lived);
    const ready = readyAmong(lived, born.filter(({ subAgent }) => !subAgent).length);
    if (transition === "start" && ready) expected.push(`ready ${job} ${ready}`);
    if (gone) {
      expected.push(`deleted ${workspace}`);
      break;
    }
  }
  return { events, expected };
}

type AgentLife = Life["builds"][number]["agents"][number];

function isLate({ timeout, took }: AgentLife): boolean {
  return timeout !== null && (took === null || took > timeout);
}

function tellAgent(
  agent: AgentLife,
  { id, names, times }: Pick<AgentEvent, "names" | "times"> & { readonly id: Uuid },
  options: StoryOptions,
): Event[] {
  const row = (given: Partial<AgentRow>): AgentRow =>
    agentRow({ id, createdAt: after(30), parent: agent.subAgent ? uuid(8) : null, ...given });
  const firstConnectedAt = agent.took === null ? null : after(30 + agent.took);
  const beat = (at: number | null, start: Partial<AgentRow> = {}): Event => ({
    row: row({ isNew: false, firstConnectedAt: at, ...start }),
    end: END,
    names: null,
    times: null,
    start:
      Object.keys(start).length === 0 || times === null
        ? null
        : { job: times.job, createdAt: times.createdAt, agents: [] },
  });
  const beats = Array.from({ length: agent.heartbeats }, () => beat(firstConnectedAt));
  const starts = agent.took === null ? [] : startsOf(agent, options);
  const flips = options.rewrites && agent.flips && agent.took !== null;
  const timeout = agent.timeout === null ? null : agent.timeout * SECOND;
  // Nobody but the agent's connection tells of those that connect late and are not noticed before.
  const isNoticed = isLate(agent) && (agent.took === null || agent.noticed);
  return [
    {
      row: row(agent.bornConnected ? { firstConnectedAt } : {}),
      end: END,
      names,
      times,
      ...(timeout !== null && { limit: { timeout, due: after(30) + timeout } }),
    },
    ...(isNoticed ? [{ row: { kind: "due", id }, end: END } as const] : []),
    beat(firstConnectedAt),
    ...beats,
    ...starts.map((start) => beat(firstConnectedAt, start)),
    ...(flips ? [beat(after(30 + (agent.took ?? 0) + 2), starts.at(-1))] : []),
  ];
}

type Start = Pick<AgentRow, "lifecycle" | "readyAt">;

/** The lifecycle that an agent reports. That it becomes ready late, or once more, rewrites what was final. */
function startsOf(
  { start, took, readyAfter, startsAgain }: Life["builds"][number]["agents"][number],
  { rewrites }: StoryOptions,
): readonly Start[] {
  const over = (lifecycle: string, seconds: number): Start => ({
    lifecycle,
    readyAt: after(30 + (took ?? 0) + readyAfter + seconds),
  });
  const starting: Start = { lifecycle: "starting", readyAt: null };
  const again = rewrites && startsAgain ? [starting, over("ready", 500)] : [];
  switch (start) {
    case "none":
      return [];
    case "starts":
      return [starting];
    case "ready":
      return [starting, over("ready", 0), ...again];
    case "late":
      return [starting, over("start_timeout", 0), ...(rewrites ? [over("ready", 60)] : [])];
    case "timeout":
    case "error":
      return [starting, over(`start_${start}`, 0), ...again];
  }
}

/** One after the other, each one at a time. */
function inTurns(told: readonly (readonly Event[])[]): Event[] {
  const longest = Math.max(0, ...told.map(({ length }) => length));
  return Array.from({ length: longest }, (_, turn) =>
    told.flatMap((life) => life[turn] ?? []),
  ).flat();
}

/** When the last of so many agents was over with its start, how, and how long after the build's creation; null: one never was. */
function readyAmong(lived: readonly Event[], count: number): string | null {
  const over = new Map<Uuid, Start & { readonly readyAt: number }>();
  for (const { row } of lived) {
    if (row.kind !== "agent" || row.parent !== null || row.readyAt === null) continue;
    const { id, lifecycle, readyAt } = row;
    if ((over.get(id)?.readyAt ?? -Infinity) < readyAt) over.set(id, { lifecycle, readyAt });
    if (over.size < count) continue;
    const all = [...over.values()];
    const any = (state: string): boolean => all.some((start) => start.lifecycle === state);
    const status = any("start_error") ? "error" : any("start_timeout") ? "timeout" : "success";
    return `${status} ${Math.max(...all.map((start) => start.readyAt)) - START}`;
  }
  return null;
}

/** What the tables hold after these events: one row per id, the last one, in causal order and with names joined in. */
export function tablesAfter(events: readonly Event[]): readonly Event[] {
  const last = new Map<string, Event>();
  const deleted = deletedIn(events);
  for (const event of events) {
    const { row } = event;
    if (isBuildEvent(event)) {
      const told = { fromTables: true, deleted: deleted.has(event.row.workspace) };
      last.set(`build ${row.id}`, { ...event, ...told });
    } else if (row.kind !== "agent") last.set(`${row.kind} ${row.id}`, event);
    else last.set(row.id, asRead(event, last.get(row.id)));
  }
  return [...last.values()];
}

/** Workspaces that one of these builds deleted. */
function deletedIn(events: readonly Event[]): ReadonlySet<Uuid> {
  const done = new Set(
    events.flatMap(({ row }) =>
      row.kind === "job" && row.completedAt !== null && !row.failed ? [row.id] : [],
    ),
  );
  return new Set(
    events
      .filter(isBuildEvent)
      .filter(({ row }) => row.transition === "delete" && done.has(row.job))
      .map(({ row }) => row.workspace),
  );
}

const isBuildEvent = (event: Event): event is BuildEvent => event.row.kind === "build";

const isAgentEvent = (event: Event): event is AgentEvent => event.row.kind === "agent";

/** An agent's row as a table read tells it: new to the reader, with its names. */
function asRead(event: Event, before: Event | undefined): Event {
  if (!isAgentEvent(event)) return event;
  const told = before && isAgentEvent(before) ? before : event;
  return { ...told, row: { ...event.row, isNew: true }, end: event.end, fromTables: true };
}
