// The data that both sides show: what the agents of a workspace took to connect, the same for the same number in every process.

/** As the catalog names it under the default prefix. */
export const NAME = "coderd_agents_first_connection_seconds";
const TEMPLATES = 37;
const USERS = 4_001;
const MOST_CONNECTIONS = 10;
const SLOWEST_SECONDS = 4_000;

export interface Workspace {
  readonly template: string;
  readonly agent: string;
  readonly username: string;
  readonly workspace: string;
  /** Whole milliseconds, so that no sum depends on the order. */
  readonly connections: readonly number[];
}

export function workspaceOf(n: number): Workspace {
  const random = randomFrom(n + 1);
  const count = 1 + Math.floor(random() * MOST_CONNECTIONS);
  return {
    template: `template-${n % TEMPLATES}`,
    agent: "main",
    username: `user-${n % USERS}`,
    workspace: `workspace-${n}`,
    // Most are quick.
    connections: Array.from({ length: count }, () =>
      Math.floor(random() * random() * SLOWEST_SECONDS * 1_000),
    ),
  };
}

/** Numbers from 0 to 1 (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = Math.imul(seed, 0x9e_37_79_b9);
  return () => {
    state = (state + 0x6d_2b_79_f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
