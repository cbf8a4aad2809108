// The figures of earlier runs, by section, so that a report can be renewed piece by piece. Kept as JSON, with raw numbers.

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import type { Machine } from "./machine.ts";
import type { SectionReport } from "./section.ts";

export interface Measured {
  readonly date: string;
  readonly machine: Machine;
  /** How long the section took. */
  readonly seconds: number;
  readonly pairs: number;
  readonly smoke: boolean;
  readonly report: SectionReport;
}

export class Archive {
  readonly #path: string | null;
  readonly #sections: Record<string, Measured>;

  private constructor(path: string | null, sections: Record<string, Measured>) {
    this.#path = path;
    this.#sections = sections;
  }

  /** `path` without its ending; null: nothing is read or written. */
  static async open(path: string | null): Promise<Archive> {
    if (path === null) return new Archive(null, {});
    try {
      const text = await readFile(`${path}.json`, "utf8");
      return new Archive(
        path,
        (JSON.parse(text) as { sections: Record<string, Measured> }).sections,
      );
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT")
        return new Archive(path, {});
      throw error;
    }
  }

  put(name: string, measured: Measured): void {
    this.#sections[name] = measured;
  }

  inOrder(names: readonly string[]): Measured[] {
    return names.flatMap((name) => this.#sections[name] ?? []);
  }

  async save(): Promise<void> {
    await this.#write("json", `${JSON.stringify({ sections: this.#sections }, null, 2)}\n`);
  }

  async saveText(markdown: string): Promise<void> {
    await this.#write("md", markdown);
  }

  async #write(ending: string, text: string): Promise<void> {
    if (this.#path === null) return;
    await mkdir(dirname(this.#path), { recursive: true });
    await writeFile(`${this.#path}.${ending}`, text);
  }
}
