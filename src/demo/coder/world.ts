// Everything a workflow of the simulated deployment needs: time, randomness, replicas, what exists, and the tally.

import { SECOND, type Micros } from "../../change/micros.ts";
import type { Uuid } from "../../change/row.ts";
import { must } from "../../errors.ts";
import type { Organization, Template, User, Workspace } from "./model.ts";
import { Random } from "./random.ts";
import { Replica } from "./replica.ts";
import { sql, type Sql } from "./sql.ts";
import { Tally } from "./tally.ts";
import { Timeline, type Process } from "./timeline.ts";

/** Marked values that must never be seen outside the columns they are put into. */
export interface Canaries {
  /** Part of every job error. */
  readonly error: string;
  /** A uuid: the token of every agent, and a value in its environment. */
  readonly authToken: Uuid;
  /** Part of every Terraform state. */
  readonly provisionerState: string;
  /** Part of the input of every job. */
  readonly input: string;
}

export interface WorldOptions {
  /** Of a database that `createCoderSchema` has filled. */
  readonly url: string;
  readonly seed: number;
  /** When simulated time begins. */
  readonly startAt: Micros;
  /** How many coderd replicas write. Default 3. */
  readonly replicas?: number;
  /** The replicas' clocks are off by at most this much. Default 800. */
  readonly skewMs?: number;
  /** `all`: stop and delete builds insert agents too, as Coder does up to v2.36. Default `start`. */
  readonly agentsOn?: "start" | "all";
  /** False: agents of earlier builds are not marked as deleted, as in Coder before v2.34. Default true. */
  readonly softDelete?: boolean;
  readonly canaries?: Canaries;
  /** True adds workflows that rewrite what was final, so that a recount of the tables differs from the first facts. */
  readonly divergent?: boolean;
  /** Adds a template, an agent and a user whose names Coder would refuse and a careless exposition would break on. */
  readonly oddNames?: boolean;
  /** How often each connected agent, and each running job, reports during `run`. Default 3. */
  readonly heartbeats?: number;
}

interface TransactionRequest {
  readonly replica: Replica;
  readonly statements: readonly Sql[];
  readonly isolation?: "read committed" | "repeatable read" | "serializable";
  /** Whose rows it touches: other writers to them wait until it ends. */
  readonly locks?: readonly Workspace[];
  readonly ends?: "commit" | "rollback";
}

/** More open transactions at once would need more connections than a small server has. */
const MOST_OPEN = 6;

export class World implements AsyncDisposable {
  readonly options: Required<Omit<WorldOptions, "canaries">> & {
    readonly canaries: Canaries | null;
  };
  readonly timeline: Timeline;
  readonly random: Random;
  readonly tally = new Tally();
  readonly replicas: readonly Replica[];
  /** Provisioner daemons. */
  readonly workers: readonly Uuid[];
  readonly organizations: Organization[] = [];
  /** The people, without the prebuilds user. */
  readonly users: User[] = [];
  readonly templates: Template[] = [];
  readonly workspaces = new Map<Uuid, Workspace>();
  /** True: agents and jobs report for as long as they live, not just a few times. */
  endless = false;
  /** True: no transaction is left open any more. */
  settling = false;
  #open = 0;
  #serial = 0;
  #prebuilds: User | undefined;

  constructor(options: WorldOptions) {
    this.options = {
      replicas: 3,
      skewMs: 800,
      agentsOn: "start",
      softDelete: true,
      divergent: false,
      oddNames: false,
      heartbeats: 3,
      ...options,
      canaries: options.canaries ?? null,
    };
    this.timeline = new Timeline(options.startAt);
    this.random = new Random(options.seed);
    const skew = this.options.skewMs * 1000;
    this.replicas = Array.from({ length: this.options.replicas }, () => {
      const id = this.random.uuid();
      return new Replica({
        id,
        url: options.url,
        timeline: this.timeline,
        skew: this.random.between(-skew, skew),
      });
    });
    this.workers = Array.from({ length: 4 }, () => this.random.uuid());
  }

  /** The system user that owns unclaimed prebuilds. */
  get prebuilds(): User {
    return must(this.#prebuilds, "seed the deployment first");
  }

  set prebuilds(user: User) {
    this.#prebuilds = user;
  }

  /** How often each agent and job reports, unless `endless`. */
  get heartbeats(): number {
    return this.options.heartbeats;
  }

  /** Transactions that are open right now. */
  get open(): number {
    return this.#open;
  }

  /** A load balancer's choice. */
  replica(): Replica {
    return this.random.pick(this.replicas);
  }

  /** 1, 2, 3 …: what makes names unique. */
  serial(): number {
    this.#serial += 1;
    return this.#serial;
  }

  /** Leaves out this many: names that an earlier simulation may have given. */
  skipSerials(count: number): void {
    this.#serial += count;
  }

  /** Waits until no open transaction holds this workspace's rows. The caller writes before it yields again. */
  async *unlocked(workspace: Workspace): Process {
    yield* this.timeline.until(() => !workspace.locked);
  }

  /** Waits until no transaction is open at all: for statements that touch every row. */
  async *alone(): Process {
    yield* this.timeline.until(() => this.#open === 0);
  }

  /** One transaction; sometimes it stays open for a while, so that those of other replicas commit in between. */
  async *transaction(request: TransactionRequest): Process {
    const { replica, statements, locks = [], ends = "commit" } = request;
    for (const workspace of locks) yield* this.unlocked(workspace);
    const begin = sql`begin isolation level ${{ text: request.isolation ?? "read committed" }}`;
    const open = this.#lingering();
    if (open === 0) return replica.send([begin, ...statements, { text: ends }]);
    const half = Math.ceil(statements.length / 2);
    this.#open += 1;
    for (const workspace of locks) workspace.locked = true;
    const transaction = await replica.begin(begin, statements.slice(0, half));
    yield open;
    if (half < statements.length) await transaction.send(statements.slice(half));
    await transaction.end(ends);
    for (const workspace of locks) workspace.locked = false;
    this.#open -= 1;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.replicas.map(async (replica) => replica[Symbol.asyncDispose]()));
  }

  #lingering(): Micros {
    const lingers = this.random.chance(0.3);
    const micros = this.random.between(20_000, 0.4 * SECOND);
    return lingers && !this.settling && this.#open < MOST_OPEN ? micros : 0;
  }
}
