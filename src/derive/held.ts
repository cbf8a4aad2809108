// Agents of starts, told in no order, held until all are told: one record of fixed length each, outside of the collector's memory, because
// a deployment has had half a million of them. Grouped by their build only when they are taken out.

import type { Uuid } from "../change/row.ts";
import type { Micros } from "../change/micros.ts";
import { type AgentStart, START_STATUSES, startOf } from "../change/start.ts";
import type { StartingAgent } from "./state.ts";
import { slices } from "./slices.ts";
import type { ToldStart } from "./starts.ts";
import type { AgentEvent, Event } from "./step.ts";

const ID_BYTES = 16;
/** The build's job, the agent, the build's creation, when the agent's start was over, and how. */
const RECORD_BYTES = ID_BYTES + ID_BYTES + 8 + 8 + 1;
const AGENT_AT = ID_BYTES;
const CREATED_AT = 2 * ID_BYTES;
const OVER_AT = CREATED_AT + 8;
const STATUS_AT = OVER_AT + 8;
/** In place of a status. */
const NOT_OVER = 0xff;
const NOT_TOLD = 0xfe;

/** So many records are kept together: what is taken at once, and left free at most, for each of the 256 lists. */
const PAGE_RECORDS = 128;

export class HeldStarts {
  /** By the first byte of the job: short lists, sorted one at a time. */
  readonly #lists = Array.from({ length: 256 }, () => new List());

  /** Those of the agents of these events that matter to the start of a workspace. */
  hold(events: readonly Event[]): void {
    for (const event of events) {
      if (event.row.kind !== "agent" || event.row.parent !== null) continue;
      const { row, times } = event as AgentEvent;
      if (times?.transition === "start") this.#add(times, { id: row.id, start: startOf(row) });
    }
  }

  #add(told: Pick<ToldStart, "job" | "createdAt">, { id, start }: StartingAgent): void {
    this.#lists[Number.parseInt(told.job.slice(0, 2), 16)]?.add(told, { id, start });
  }

  /** Everything, by job, some at a time. What was taken out is no longer held. */
  *take(): Generator<readonly ToldStart[]> {
    for (const [index, list] of this.#lists.entries()) {
      this.#lists[index] = new List();
      yield* list.take();
    }
  }
}

class List {
  readonly #pages: DataView[] = [];
  #count = 0;

  add(
    { job, createdAt }: Pick<ToldStart, "job" | "createdAt">,
    { id, start }: StartingAgent,
  ): void {
    if (this.#count === this.#pages.length * PAGE_RECORDS)
      this.#pages.push(new DataView(new ArrayBuffer(PAGE_RECORDS * RECORD_BYTES)));
    const { page, offset } = this.#at(this.#count);
    this.#count += 1;
    writeId(page, offset, job);
    writeId(page, offset + AGENT_AT, id);
    page.setFloat64(offset + CREATED_AT, createdAt);
    page.setFloat64(offset + OVER_AT, start?.at ?? 0);
    page.setUint8(offset + STATUS_AT, statusByte(start));
  }

  *take(): Generator<readonly ToldStart[]> {
    const agents = Array.from({ length: this.#count }, (_, index) => this.#read(index));
    agents.sort((a, b) => (a.job < b.job ? -1 : a.job > b.job ? 1 : 0));
    const starts: { job: Uuid; createdAt: Micros; agents: StartingAgent[] }[] = [];
    for (const { job, createdAt, agent } of agents) {
      const last = starts.at(-1);
      if (last?.job === job) last.agents.push(agent);
      else starts.push({ job, createdAt, agents: [agent] });
    }
    yield* slices(starts);
  }

  #read(index: number): {
    readonly job: Uuid;
    readonly createdAt: Micros;
    readonly agent: StartingAgent;
  } {
    const { page, offset } = this.#at(index);
    const status = page.getUint8(offset + STATUS_AT);
    const at = page.getFloat64(offset + OVER_AT);
    const start = status === NOT_OVER ? null : { at, status: START_STATUSES[status] ?? null };
    return {
      job: readId(page, offset),
      createdAt: page.getFloat64(offset + CREATED_AT),
      agent: { id: readId(page, offset + AGENT_AT), start },
    };
  }

  #at(index: number): { readonly page: DataView; readonly offset: number } {
    const page = this.#pages[Math.floor(index / PAGE_RECORDS)];
    if (!page) throw new RangeError("no such record");
    return { page, offset: (index % PAGE_RECORDS) * RECORD_BYTES };
  }
}

function statusByte(start: AgentStart | null): number {
  if (start === null) return NOT_OVER;
  return start.status === null ? NOT_TOLD : START_STATUSES.indexOf(start.status);
}

function writeId(page: DataView, offset: number, id: Uuid): void {
  const hex = id.replaceAll("-", "");
  for (let word = 0; word < 4; word += 1)
    page.setUint32(offset + word * 4, Number.parseInt(hex.slice(word * 8, word * 8 + 8), 16));
}

function readId(page: DataView, offset: number): Uuid {
  const words = [0, 4, 8, 12].map((at) =>
    page
      .getUint32(offset + at)
      .toString(16)
      .padStart(8, "0"),
  );
  const hex = words.join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
