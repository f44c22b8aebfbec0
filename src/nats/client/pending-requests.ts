/** The requests of a connection that wait for their replies: their deadlines, their signals and the bytes reserved for them. */
import { type CallContext, endReason, isCanceled } from "../../kv/call-context.js";
import type { Link } from "./link.js";
import type { HeaderBlock } from "./messages.js";
import type { Reservation } from "./reservation.js";
import { NoReplyError } from "./no-reply.js";
import { UnansweredBytes } from "./unanswered-bytes.js";

/** A reply. `status`: from its header block; 0 for an ordinary message. */
export interface Reply {
  readonly status: number;
  readonly headers: HeaderBlock;
  readonly data: Uint8Array;
}

export interface Pending {
  readonly context: CallContext;
  readonly sinceMs: number;
  /** At first the caller's; earlier once the request was sent, with `answerTimeoutMs`. */
  deadlineMs: number;
  readonly answerTimeoutMs: number | undefined;
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: unknown) => void;
  /** For requests with several replies: called with each, until it does not return undefined. */
  readonly onReply: ((reply: Reply) => Reply | undefined) | undefined;
  /** For the bytes that have not arrived yet; undefined while the request waits for its turn. */
  reservation: Reservation | undefined;
}

/** How often deadlines and signals are checked, in milliseconds. */
const CHECK_INTERVAL_MS = 20;
/** How long a request runs before its signal is checked: creating one costs as much as the rest of the request. */
const SIGNAL_GRACE_MS = 200;
const NO_RESPONDERS_STATUS = 503;
/** Shared replies that are waited for. The oldest are lost replies. */
const SHARED_REPLIES_MAX = 1_000;

export class PendingRequests {
  private readonly byToken = new Map<number, Pending>();
  /** The requests that a reply answers, by its token, if there are several. */
  private readonly sharedReplies = new Map<number, readonly number[]>();
  private readonly unanswered: UnansweredBytes;
  private timer: NodeJS.Timeout | undefined;

  constructor(link: Link) {
    this.unanswered = new UnansweredBytes(link);
  }

  get(token: number): Pending | undefined {
    return this.byToken.get(token);
  }

  add(token: number, pending: Pending): void {
    this.byToken.set(token, pending);
    this.timer ??= setInterval(() => this.checkAll(), CHECK_INTERVAL_MS);
  }

  /** Has one reply answer several requests. */
  shareReply(token: number, requests: readonly number[]): void {
    const [oldest] = this.sharedReplies.keys();
    if (this.sharedReplies.size >= SHARED_REPLIES_MAX && oldest !== undefined)
      this.sharedReplies.delete(oldest);
    this.sharedReplies.set(token, requests);
  }

  /** Whether a request that waits for bytes is still to be sent. It ends if it was canceled. */
  isWanted(token: number, pending: Pending): boolean {
    if (!this.byToken.has(token)) return false;
    if (!isCanceled(pending.context)) return true;
    this.byToken.delete(token);
    pending.reject(new NoReplyError(endReason(pending.context), false));
    return false;
  }

  /** A request that is still to be sent. Undefined: it has ended, or ends now because its deadline has passed or it was canceled. */
  wanted(token: number, nowMs: number): Pending | undefined {
    const pending = this.byToken.get(token);
    if (pending === undefined) {
      this.unanswered.release(token);
      return undefined;
    }
    const isLate = nowMs >= pending.deadlineMs;
    if (!isLate && !isCanceled(pending.context)) return pending;
    this.reject(token, isLate ? "deadline" : endReason(pending.context));
    return undefined;
  }

  /** Ends a request that was not sent. */
  reject(token: number, reason: NoReplyError["reason"]): void {
    const pending = this.byToken.get(token);
    if (pending === undefined) return;
    this.settle(token, pending);
    pending.reject(new NoReplyError(reason, false));
  }

  /** A reply has arrived. */
  receive(token: number, reply: Reply): void {
    const requests = this.sharedReplies.get(token);
    if (requests === undefined) {
      this.deliver(token, reply);
      return;
    }
    this.sharedReplies.delete(token);
    for (const request of requests) this.deliver(request, reply);
  }

  /** The connection is lost. `isUnsent`: whether a request has certainly not left this process. */
  failAll(reason: NoReplyError["reason"], isUnsent: (token: number) => boolean): void {
    const pending = [...this.byToken];
    this.byToken.clear();
    this.sharedReplies.clear();
    this.unanswered.releaseAll();
    for (const [token, { reject, reservation }] of pending) {
      reservation?.complete();
      reject(new NoReplyError(reason, reservation !== undefined && !isUnsent(token)));
    }
  }

  private deliver(token: number, reply: Reply): void {
    const pending = this.byToken.get(token);
    const bytes = reply.headers.text.length + reply.data.length;
    if (pending === undefined) {
      this.unanswered.arrived(token, bytes, reply.status !== 0);
      return;
    }
    if (reply.status === NO_RESPONDERS_STATUS && reply.data.length === 0) {
      this.reject(token, "no_responders");
      return;
    }
    if (pending.onReply === undefined) {
      this.settle(token, pending);
      pending.resolve(reply);
      return;
    }
    try {
      const last = pending.onReply(reply);
      if (last === undefined) {
        pending.reservation?.arrived(bytes);
        return;
      }
      this.settle(token, pending);
      pending.resolve(last);
    } catch (error) {
      this.abandon(token, pending);
      pending.reject(error);
    }
  }

  /** Removes a request whose reply has arrived, or that was never sent. */
  private settle(token: number, pending: Pending): void {
    this.byToken.delete(token);
    pending.reservation?.complete();
  }

  /** Removes a request whose reply may still arrive: its bytes stay reserved. */
  private abandon(token: number, pending: Pending): void {
    this.byToken.delete(token);
    if (pending.reservation !== undefined)
      this.unanswered.add(token, pending.reservation, pending.onReply !== undefined);
  }

  private checkAll(): void {
    if (this.byToken.size === 0) {
      clearInterval(this.timer);
      this.timer = undefined;
      return;
    }
    const nowMs = performance.now();
    for (const [token, pending] of this.byToken) {
      const { context, sinceMs, deadlineMs, reject } = pending;
      const isAborted = nowMs - sinceMs >= SIGNAL_GRACE_MS && context.signal.aborted;
      const reason = nowMs >= deadlineMs ? "deadline" : isAborted ? endReason(context) : undefined;
      if (reason === undefined) continue;
      this.abandon(token, pending);
      reject(new NoReplyError(reason, pending.reservation !== undefined));
    }
  }
}
