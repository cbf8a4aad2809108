// Where the database URL and the password come from, and what is wrong with them at the start.

import type { ClientConfig } from "pg";
import { type UrlSource, databaseReader, sourceMistakes } from "./postgres/url.ts";

export const URL_FILE = "FIRSTLIGHT_DATABASE_URL_FILE";

export interface DatabaseSettings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly readFile: (path: string) => string;
  /** The URL on the command line. */
  readonly flag: string | undefined;
  /** The URL on the command line, or in our variable. */
  readonly url: string | undefined;
  readonly caPath: string | undefined;
  readonly passwordFile: { readonly path: string; readonly name: string } | undefined;
}

/** The flag, our file, our variable, then everybody's variable; undefined when there is none. Adds its mistakes. */
export function findDatabase(
  { env, readFile, flag, url: ours, caPath, passwordFile }: DatabaseSettings,
  mistakes: string[],
): (() => Promise<ClientConfig>) | undefined {
  const filePath = flag === undefined ? env[URL_FILE] || undefined : undefined;
  const url = ours ?? (env["DATABASE_URL"] || undefined);
  if (filePath !== undefined && ours !== undefined) {
    mistakes.push(`${URL_FILE}: FIRSTLIGHT_DATABASE_URL is set too; set one of them`);
  }
  if (url === undefined && filePath === undefined) return undefined;
  const variable = ours === undefined ? "DATABASE_URL" : "FIRSTLIGHT_DATABASE_URL";
  const source: UrlSource = {
    name: filePath !== undefined ? URL_FILE : flag !== undefined ? "--database-url" : variable,
    text: () => (filePath === undefined ? (url ?? "") : readFile(filePath).trim()),
    // Blanks may be part of a password; the end of the line is the editor's.
    password: passwordFile && {
      name: passwordFile.name,
      text: () => readFile(passwordFile.path).replace(/\r?\n$/, ""),
    },
    tls: { caPath, sslMode: env["PGSSLMODE"] || undefined },
  };
  mistakes.push(...sourceMistakes(source, readFile));
  return databaseReader(source);
}
