// One coderd replica: its own connections and its own clock, which is off by a constant. Connections are opened when needed
// (an open transaction occupies one), so a database server may restart between two transactions.

import { Client, DatabaseError } from "pg";
import type { Micros } from "../../change/micros.ts";
import type { Uuid } from "../../change/row.ts";
import type { Sql } from "./sql.ts";
import type { Timeline } from "./timeline.ts";

/** A transaction that stays open between two messages. */
export interface OpenTransaction {
  send(statements: readonly Sql[]): Promise<void>;
  end(how: "commit" | "rollback"): Promise<void>;
}

export class Replica implements AsyncDisposable {
  readonly id: Uuid;
  readonly skew: Micros;
  readonly #url: string;
  readonly #timeline: Timeline;
  readonly #idle: Client[] = [];
  readonly #all = new Set<Client>();

  constructor(options: { id: Uuid; url: string; skew: Micros; timeline: Timeline }) {
    this.id = options.id;
    this.skew = options.skew;
    this.#url = options.url;
    this.#timeline = options.timeline;
  }

  /** What this replica believes the time is. */
  now(): Micros {
    return this.#timeline.now + this.skew;
  }

  /** One message: a single statement is its own transaction. Rejects with Postgres' error, leaving nothing open. */
  async send(statements: readonly Sql[]): Promise<void> {
    const client = await this.#take();
    try {
      await query(client, statements);
    } catch (error) {
      this.#all.delete(client);
      await client.end().catch(() => undefined);
      throw error;
    }
    this.#idle.push(client);
  }

  /** Opens a transaction and leaves it open. */
  async begin(begin: Sql, statements: readonly Sql[]): Promise<OpenTransaction> {
    const client = await this.#take();
    await query(client, [begin, ...statements]);
    return {
      send: async (more) => query(client, more),
      end: async (how) => {
        await query(client, [{ text: how }]);
        this.#idle.push(client);
      },
    };
  }

  /** Sends a transaction that Postgres must refuse with this SQLSTATE, and rolls it back. Throws if it does not. */
  async refused(statements: readonly Sql[], sqlState: string): Promise<void> {
    const client = await this.#take();
    const refusal: unknown = await query(client, statements).then(
      () => undefined,
      (error: unknown) => error,
    );
    if (!(refusal instanceof DatabaseError) || refusal.code !== sqlState) {
      throw new Error("a statement that must be refused was not", { cause: refusal });
    }
    await query(client, [{ text: "rollback" }]);
    this.#idle.push(client);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#all].map(async (client) => client.end()));
    this.#all.clear();
    this.#idle.length = 0;
  }

  async #take(): Promise<Client> {
    for (let client = this.#idle.pop(); client; client = this.#idle.pop()) {
      if (this.#all.has(client)) return client;
    }
    const client = new Client({ connectionString: this.#url, application_name: "coderd" });
    client.on("error", () => this.#all.delete(client));
    client.on("end", () => this.#all.delete(client));
    await client.connect();
    this.#all.add(client);
    return client;
  }
}

async function query(client: Client, statements: readonly Sql[]): Promise<void> {
  await client.query(statements.map((statement) => statement.text).join(";\n"));
}
