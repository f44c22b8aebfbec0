/**
 * The reserved bytes of requests that timed out or were canceled before their reply arrived. The reply is or will be in the server's
 * buffer, so the bytes stay reserved until it has arrived.
 *
 * A reply can also be lost together with the server that was to send it. After a while, a ping proves that the server's buffer is empty.
 */
import type { Link } from "./link.js";
import type { Reservation } from "./reservation.js";

interface Held {
  readonly reservation: Reservation;
  readonly hasSeveralReplies: boolean;
  readonly sinceMs: number;
}

/** How long a reply may take after its request ended. A server replies within milliseconds, unless its disk stalls. */
const LOST_AFTER_MS = 2_000;
const CHECK_INTERVAL_MS = 500;

export class UnansweredBytes {
  /** By the request's token, oldest first. */
  private readonly held = new Map<number, Held>();
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly link: Link) {}

  add(token: number, reservation: Reservation, hasSeveralReplies: boolean): void {
    this.held.set(token, { reservation, hasSeveralReplies, sinceMs: performance.now() });
    this.timer ??= setInterval(() => void this.releaseLost(), CHECK_INTERVAL_MS).unref();
  }

  /** A reply arrived. `isLast`: it is the last of a request with several replies. */
  arrived(token: number, bytes: number, isLast: boolean): void {
    const held = this.held.get(token);
    if (held === undefined) return;
    if (isLast || !held.hasSeveralReplies) this.release(token);
    else held.reservation.arrived(bytes);
  }

  release(token: number): void {
    const held = this.held.get(token);
    if (held === undefined) return;
    this.held.delete(token);
    held.reservation.complete();
  }

  /** Called when the connection is lost: nothing is in flight any more. */
  releaseAll(): void {
    for (const token of [...this.held.keys()]) this.release(token);
  }

  private async releaseLost(): Promise<void> {
    if (this.held.size === 0) {
      clearInterval(this.timer);
      this.timer = undefined;
      return;
    }
    const before = performance.now() - LOST_AFTER_MS;
    const lost = [...this.held].filter(([, { sinceMs }]) => sinceMs < before).map(([token]) => token);
    if (lost.length === 0) return;
    try {
      await this.link.connection.flush();
    } catch {
      return;
    }
    for (const token of lost) this.release(token);
  }
}
