/**
 * Reserved bytes of requests that were given up, by timeout or cancellation, before their answer arrived. The answer is still in the
 * server's buffer, or will be: the bytes stay reserved until it has arrived.
 *
 * An answer may also be lost, with the server that was to send it: after a while, a ping proves that the server's buffer is empty.
 */
import type { Link } from "./link.js";

interface Held {
  bytes: number;
  readonly hasSeveralAnswers: boolean;
  readonly sinceMs: number;
}

/** How long an answer may take after it was given up. A server answers within milliseconds, unless its disk stalls. */
const LOST_AFTER_MS = 2_000;
const CHECK_INTERVAL_MS = 500;

export class UnansweredBytes {
  /** By the request's token, oldest first. */
  private readonly held = new Map<number, Held>();
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly link: Link) {}

  add(token: number, bytes: number, hasSeveralAnswers: boolean): void {
    this.held.set(token, { bytes, hasSeveralAnswers, sinceMs: performance.now() });
    this.timer ??= setInterval(() => void this.releaseLost(), CHECK_INTERVAL_MS).unref();
  }

  /** An answer arrived. `isLast`: it ends those of a request that has several. */
  arrived(token: number, bytes: number, isLast: boolean): void {
    const held = this.held.get(token);
    if (held === undefined) return;
    if (isLast || !held.hasSeveralAnswers) {
      this.release(token);
      return;
    }
    const arrived = Math.min(bytes, held.bytes);
    held.bytes -= arrived;
    this.link.unread.release(arrived);
  }

  release(token: number): void {
    const held = this.held.get(token);
    if (held === undefined) return;
    this.held.delete(token);
    this.link.unread.release(held.bytes);
  }

  /** The connection is gone, and all that was on its way. */
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
