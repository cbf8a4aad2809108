// How a job ended, in a provisioner's words.

import type { Ending } from "../../derive/fact.ts";

export const STATUSES = ["success", "failed"] as const;

/** To a provisioner a job is done or not. */
export function statusOf({ status }: Pick<Ending, "status">): (typeof STATUSES)[number] {
  return status === "failure" ? "failed" : "success";
}
