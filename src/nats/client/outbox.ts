/**
 * The requests of a connection that are about to be sent. All of them leave once per turn of the event loop: the client writes to its socket at
 * the end of a microtask, and that system call is the most expensive part of a request.
 */
import type { Link } from "./link.js";
import type { RawHeaders } from "./messages.js";
import type { PendingRequests } from "./pending-requests.js";

export interface Outgoing {
  readonly token: number;
  readonly subject: string;
  readonly payload: Uint8Array;
  readonly headers: RawHeaders | undefined;
}

export class Outbox {
  private readonly waiting: Outgoing[] = [];
  private readonly tasks: (() => void)[] = [];
  private isFlushScheduled = false;

  /** Replies go to the prefix and the token of their request. */
  constructor(
    private readonly link: Link,
    private readonly pending: PendingRequests,
    private readonly inboxPrefix: string,
  ) {}

  add(outgoing: Outgoing): void {
    this.schedule();
    this.waiting.push(outgoing);
  }

  /** Runs the task after the requests of this turn: what it sends leaves in the same write. */
  atNextFlush(task: () => void): void {
    this.schedule();
    this.tasks.push(task);
  }

  /** Drops all requests. Returns their tokens. */
  clear(): ReadonlySet<number> {
    return new Set(this.waiting.splice(0).map(({ token }) => token));
  }

  private schedule(): void {
    if (this.isFlushScheduled) return;
    this.isFlushScheduled = true;
    setImmediate(() => this.flush());
  }

  /** Sends the requests that are still wanted. */
  private flush(): void {
    this.isFlushScheduled = false;
    const nowMs = performance.now();
    for (const { token, subject, payload, headers } of this.waiting.splice(0)) {
      if (this.pending.wanted(token, nowMs) === undefined) continue;
      const reply = this.inboxPrefix + token.toString();
      try {
        this.link.connection.publish(
          subject,
          payload,
          headers === undefined ? { reply } : { reply, headers },
        );
      } catch {
        // The connection is closed or closing. Callers have already checked everything else that publish refuses.
        this.pending.reject(token, "disconnected");
      }
    }
    for (const task of this.tasks.splice(0)) task();
  }
}
