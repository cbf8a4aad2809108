// A thread that compares passwords with bcrypt hashes: that takes from 50 ms to seconds on purpose, and whoever guesses
// passwords must not hold up the one thread that follows the database.

import { parentPort } from "node:worker_threads";
import { compareSync } from "bcryptjs";

parentPort?.on("message", ({ password, hash }: { password: string; hash: string }) => {
  parentPort?.postMessage(compareSync(password, hash), []);
});
