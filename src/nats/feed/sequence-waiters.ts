/** Callers that wait until a feed has come to a sequence. One timer checks the deadlines of all. */
import { type CallContext, endReason, isCanceled } from "../../kv/call-context.js";
import { KvError } from "../../kv/errors.js";
import { toKvError } from "../client/errors.js";
import { NoReplyError } from "../client/requests.js";

interface Waiter {
  readonly sequence: number;
  readonly context: CallContext;
  readonly resolve: () => void;
  readonly reject: (error: KvError) => void;
}

const CHECK_INTERVAL_MS = 20;

export class SequenceWaiters {
  private readonly waiters = new Set<Waiter>();
  private timer: NodeJS.Timeout | undefined;
  /** How long they have waited for the next sequence. While the event loop stands still, no message can arrive: that time does not count. */
  private waitedMs = 0;
  private lastCheckMs = 0;

  /** `onOverdue`: somebody has waited for longer than messages take that are on their way. */
  constructor(
    private readonly bucket: string,
    private readonly patienceMs: number,
    private readonly onOverdue: () => void,
  ) {}

  /** Resolves when `passed` is called with the sequence or a later one. Rejects with `KvError` when the context ends first. */
  wait(sequence: number, context: CallContext): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.waiters.size === 0) this.waitedMs = 0;
      this.waiters.add({ sequence, context, resolve, reject });
      if (this.timer !== undefined) return;
      this.lastCheckMs = performance.now();
      this.timer = setInterval(() => this.check(), CHECK_INTERVAL_MS);
    });
  }

  passed(position: number): void {
    if (this.waiters.size === 0) return;
    for (const waiter of this.waiters) {
      if (waiter.sequence > position) continue;
      this.waiters.delete(waiter);
      waiter.resolve();
    }
    this.waitedMs = 0;
  }

  failAll(error: KvError): void {
    for (const { reject } of this.waiters) reject(error);
    this.waiters.clear();
    this.stopTimer();
  }

  private check(): void {
    const nowMs = performance.now();
    this.waitedMs += Math.min(nowMs - this.lastCheckMs, CHECK_INTERVAL_MS);
    this.lastCheckMs = nowMs;
    for (const waiter of this.waiters) {
      const isLate = nowMs >= waiter.context.deadlineMs;
      if (!isLate && !isCanceled(waiter.context)) continue;
      this.waiters.delete(waiter);
      const reason = new NoReplyError(isLate ? "deadline" : endReason(waiter.context), false);
      waiter.reject(toKvError(reason, { bucket: this.bucket }));
    }
    if (this.waiters.size === 0) this.stopTimer();
    else if (this.waitedMs >= this.patienceMs) {
      this.waitedMs = 0;
      this.onOverdue();
    }
  }

  private stopTimer(): void {
    clearInterval(this.timer);
    this.timer = undefined;
  }
}
