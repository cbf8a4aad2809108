// Standbys are the demo's: `--prove` promotes one, too.

export * from "../../src/demo/standby.ts";
