// Holds one message of a client's back, so that something can happen just before the server hears of it.

import type { Link } from "./proxy.ts";

export interface Gate {
  /** For `ProxyOptions.onMessage`. */
  readonly onMessage: (message: Buffer, link: Link) => Buffer | Promise<Buffer>;
  /** The next message that matches is held; resolves with its link once it is. */
  hold(matches: (message: Buffer, link: Link) => boolean): Promise<Link>;
  /** Lets it through. */
  release(): void;
}

export function openGate(): Gate {
  let matches: ((message: Buffer, link: Link) => boolean) | undefined;
  let held = Promise.withResolvers<Link>();
  let released = Promise.withResolvers<void>();
  return {
    async onMessage(message, link) {
      if (!matches?.(message, link)) return message;
      matches = undefined;
      held.resolve(link);
      await released.promise;
      return message;
    },
    async hold(wanted) {
      held = Promise.withResolvers();
      released = Promise.withResolvers();
      matches = wanted;
      return held.promise;
    },
    release: () => released.resolve(),
  };
}
