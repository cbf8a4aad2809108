// A deployment's life as facts in a ledger: deterministic, with names as people give them, and times as rows have them. Facts of
// one build stand together, so that they are not in the order of their times.

import { type Micros, SECOND } from "../../../src/change/micros.ts";
import { ORGANIZATIONS, PRESETS, USERNAMES, moniker } from "../../../src/demo/coder/names.ts";
import { Random } from "../../../src/demo/coder/random.ts";
import type {
  BuildTraits,
  Ended,
  Fact,
  Names,
  OfBuild,
  Workspace,
} from "../../../src/derive/fact.ts";
import { toLsn } from "../../../src/lsn.ts";
import { Store } from "../../../src/store/store.ts";
import { CATALOG } from "../../support/ledger.ts";
import { IMPORT, uuid } from "../../support/rows.ts";
import { POSITION, staged } from "../../support/storing.ts";

export interface Deployment {
  readonly organizations: number;
  readonly templates: number;
  readonly builds: number;
  /** About half as many agents connect as there are builds. */
  readonly agents: number;
  readonly from: Micros;
  readonly until: Micros;
  readonly seed?: number;
}

const TEMPLATES = ["docker", "kubernetes", "aws-linux", "gcp-vm", "data science", "näytös \\ 🦦"];
const AGENTS = ["main", "dev", "gpu"];
const ERRORS = ["other", "user_canceled", "REQUIRED_TEMPLATE_VARIABLES", "QUOTA_EXCEEDED"];
const AT_ONCE = 5_000;

interface Buildable {
  readonly names: Names;
  readonly agents: readonly string[];
}

/** All facts of it. */
export function* lifeOf({ seed = 1, ...deployment }: Deployment): Generator<Fact> {
  const random = new Random(seed);
  const buildable = buildableOf(random, deployment);
  const { builds, agents, from, until } = deployment;
  let ids = 0;
  const id = (): string => uuid((ids += 1));
  const told = (): { id: string; end: Fact["end"] } => ({
    id: id(),
    end: toLsn(BigInt(ids) * 1_000n),
  });
  let connected = 0;
  for (let n = 0; n < builds; n += 1) {
    // Some hours are busier than others; a build near the end may end after it.
    const day = random.between(from, until);
    const at = random.chance(0.3) ? day - (day % (8 * 3_600 * SECOND)) : day;
    const { names, agents: kinds } = random.pick(buildable);
    const traits = traitsOf(random, names);
    const workspace: Workspace = {
      id: id(),
      owner: traits.prebuild ? "prebuilds" : random.pick(USERNAMES),
      name: moniker(random, n % 5_000),
    };
    const build: OfBuild = {
      names: { ...names, version: `v${1 + Math.floor((5 * (at - from)) / (until - from))}` },
      traits,
      workspace,
      number: traits.initial ? 1 : random.between(2, 40),
    };
    if (random.chance(0.02)) {
      const took = random.gap(20 * SECOND);
      yield { kind: "started", ...told(), at, took: random.gap(SECOND), ...IMPORT };
      const ending = { status: "success", stage: "", errorCode: "" } as const;
      yield { kind: "ran", ...told(), at: at + took, took, ...IMPORT, ...ending };
    }
    yield { kind: "attempted", ...told(), at, ...build };
    const ending = endingOf(random);
    const queued = random.gap(4 * SECOND);
    const isTaken = ending.stage !== "queue" && ending.status !== "canceled";
    if (isTaken) yield { kind: "started", ...told(), at: at + queued, took: queued, ...build };
    const took = isTaken
      ? random.gap(70 * SECOND) - (random.chance(0.001) ? SECOND * 1e4 : 0)
      : null;
    const endedAt = at + queued + Math.max(0, took ?? 0);
    yield { kind: "ended", ...told(), at: endedAt, took, ...build, ...ending };
    if (ending.status !== "success" || traits.transition !== "start") continue;
    if (traits.initial)
      yield { kind: "created", ...told(), id: workspace.id, at: endedAt, ...build };
    for (const agent of kinds) {
      if (connected === agents) continue;
      connected += 1;
      const waited = random.gap(40 * SECOND) - (random.chance(0.002) ? 60 * SECOND : 0);
      yield {
        kind: "connected",
        ...told(),
        at: endedAt + waited,
        took: waited,
        names: { ...names, agent, username: workspace.owner, workspace: workspace.name },
        workspace,
        light: random.chance(0.05)
          ? null
          : { traits, queued, provisioned: took ?? 0, completedAt: endedAt },
      };
    }
  }
}

function buildableOf(
  random: Random,
  { organizations, templates }: Pick<Deployment, "organizations" | "templates">,
): readonly Buildable[] {
  return Array.from({ length: templates }, (_, n) => {
    const organization = ORGANIZATIONS[n % organizations] ?? `organization-${n % organizations}`;
    const word = TEMPLATES[n % TEMPLATES.length] ?? "";
    const template = n < TEMPLATES.length ? word : `${word}-${n}`;
    const presets = random.shuffled(PRESETS).slice(0, n % 3);
    const agents = AGENTS.slice(0, 1 + (n % 2));
    return ["", ...presets].map((preset) => ({
      names: { organization, template, preset },
      agents,
    }));
  }).flat();
}

function traitsOf(random: Random, { preset }: Names): BuildTraits {
  const common = { provisioner: "terraform", reason: "initiator", prebuild: false, claimed: null };
  if (preset !== "" && random.chance(0.2))
    return { ...common, transition: "start", initial: true, prebuild: true };
  if (preset !== "" && random.chance(0.2))
    return { ...common, transition: "start", initial: false, claimed: preset };
  if (random.chance(0.3)) return { ...common, transition: "start", initial: true };
  const transition = random.pick(["start", "stop", "start", "stop", "delete"]);
  return { ...common, transition, initial: false, reason: random.pick(["autostart", "initiator"]) };
}

function endingOf(random: Random): Pick<Ended, "status" | "stage" | "errorCode"> {
  if (random.chance(0.03)) return { status: "canceled", stage: "", errorCode: "" };
  if (!random.chance(0.08)) return { status: "success", stage: "", errorCode: "" };
  const stage = random.pick(["queue", "provisioner"] as const);
  return { status: "failure", stage, errorCode: random.pick(ERRORS) };
}

/** Writes facts to a store at `path`, which is closed again. */
export function writeLedger(path: string, facts: Iterable<Fact>): void {
  using store = Store.open({ path, catalog: CATALOG });
  store.load();
  using transaction = store.begin({ bulk: true });
  let batch: Fact[] = [];
  const add = (): void => {
    transaction.add(staged(store, { facts: batch }));
    batch = [];
  };
  for (const fact of facts) {
    batch.push(fact);
    if (batch.length === AT_ONCE) add();
  }
  add();
  transaction.commit(POSITION);
}
