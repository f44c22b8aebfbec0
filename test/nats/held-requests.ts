/** Holds back what a store sends to NATS, so that something else can happen first. */
import type { NatsConnection } from "@nats-io/transport-node";

export interface HeldRequests {
  /** Resolves when so many messages with the text in their subject were sent or held back. */
  seen(count: number): Promise<void>;
  /** Sends what was held back, and holds nothing back any more. */
  release(): void;
  /** Never sends what was held back, and holds nothing back any more. */
  drop(): void;
}

/** Holds back messages whose subject contains `text`; `isHeld` false: only counts them. */
export function holdRequests(connection: NatsConnection, text: string, isHeld = true): HeldRequests {
  const publish = connection.publish.bind(connection);
  const held: (() => void)[] = [];
  const waiters: { readonly count: number; readonly resolve: () => void }[] = [];
  let seen = 0;
  let isHolding = isHeld;
  connection.publish = (subject, payload, options) => {
    if (!subject.includes(text)) {
      publish(subject, payload, options);
      return;
    }
    seen++;
    if (isHolding) held.push(() => publish(subject, payload, options));
    else publish(subject, payload, options);
    for (const { count, resolve } of waiters) if (seen >= count) resolve();
  };
  return {
    seen: (count) =>
      new Promise((resolve) => {
        if (seen >= count) resolve();
        else waiters.push({ count, resolve });
      }),
    release() {
      isHolding = false;
      for (const send of held.splice(0)) send();
      connection.publish = publish;
    },
    drop() {
      held.length = 0;
      this.release();
    },
  };
}
