/**
 * NATS requests with a deadline and a signal, which fail at once when the connection is lost.
 *
 * The client's own `request` creates several promises, a timer and a stack trace per call, and waits for its timeout when the connection
 * is lost. Here one subscription receives all replies, one timer checks all requests, and a request costs one promise. Deadlines are
 * checked every few milliseconds. Signals are checked later, so a request with a fast reply never creates its signal.
 *
 * A request reserves the size of its largest reply in the connection's byte budget before it is sent, until the reply has arrived.
 */
import { createInbox, type Msg, type Subscription } from "@nats-io/transport-node";
import { flowOf, isCanceled } from "../../kv/call-context.js";
import type { CallContext } from "../../kv/store.js";
import { type ExpectedReply, type Link, SMALL_ANSWER_BYTES } from "./link.js";
import { HeaderBlock, headersOf, type RawHeaders } from "./messages.js";
import type { Reservation } from "./reservation.js";
import { NoReplyError } from "./no-reply.js";
import { UnansweredBytes } from "./unanswered-bytes.js";

export { SMALL_ANSWER_BYTES } from "./link.js";
export { NoReplyError } from "./no-reply.js";

/** A reply. `status`: from its header block; 0 for an ordinary message. */
export interface Reply {
  readonly status: number;
  readonly headers: HeaderBlock;
  readonly data: Uint8Array;
}

interface Pending {
  readonly context: CallContext;
  readonly sinceMs: number;
  readonly deadlineMs: number;
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: unknown) => void;
  /** For requests with several replies: called with each, until it does not return undefined. */
  readonly onReply: ((reply: Reply) => Reply | undefined) | undefined;
  /** For the bytes that have not arrived yet; undefined while the request waits for its turn. */
  reservation: Reservation | undefined;
}

interface Outgoing {
  readonly token: number;
  readonly subject: string;
  readonly payload: Uint8Array;
  readonly headers: RawHeaders | undefined;
}

const SMALL_REPLY: ExpectedReply = { bytesMax: SMALL_ANSWER_BYTES };
const CHECK_INTERVAL_MS = 20;
/** How long a request runs before its signal is checked: creating one costs as much as the rest of the request. */
const SIGNAL_GRACE_MS = 200;
const NO_RESPONDERS_STATUS = 503;

export class Requests {
  private readonly inboxPrefix: string;
  private readonly subscription: Subscription;
  private readonly pending = new Map<number, Pending>();
  private readonly unanswered: UnansweredBytes;
  private readonly outbox: Outgoing[] = [];
  private connectedWaiters: (() => void)[] = [];
  private nextToken = 1;
  private isClosed = false;
  private serverId: string | undefined;
  /** When this process first connected to the server's current run, in milliseconds of `performance.now()`. */
  serverSinceMs = 0;
  private timer: NodeJS.Timeout | undefined;
  private readonly stopListening: (() => void)[];

  constructor(readonly link: Link) {
    this.inboxPrefix = `${createInbox()}.`;
    this.unanswered = new UnansweredBytes(link);
    this.subscription = link.subscribe(`${this.inboxPrefix}*`, (message) => this.handleReply(message));
    this.detectServerRestart();
    this.stopListening = [
      link.onDisconnect(() => this.failAll()),
      link.onReconnect(() => {
        this.detectServerRestart();
        for (const wake of this.connectedWaiters.splice(0)) wake();
      }),
    ];
  }

  get isConnected(): boolean {
    return this.link.isConnected && !this.isClosed;
  }

  /**
   * Sends a request and resolves with its reply. A request with a reply that may exceed {@link SMALL_ANSWER_BYTES}, the default, waits for
   * the byte budget. Rejects with {@link NoReplyError}.
   */
  one(
    subject: string,
    payload: Uint8Array,
    headers: RawHeaders | undefined,
    context: CallContext,
    deadlineMs = context.deadlineMs,
    expected = SMALL_REPLY,
  ): Promise<Reply> {
    return this.send(subject, payload, headers, context, deadlineMs, expected, undefined);
  }

  /**
   * Sends a request with several replies; `expected` is their size together. Calls `onReply` with each, until it returns one: the last, which
   * has a status.
   */
  many(
    subject: string,
    payload: Uint8Array,
    context: CallContext,
    expected: ExpectedReply,
    onReply: (reply: Reply) => Reply | undefined,
  ): Promise<Reply> {
    return this.send(subject, payload, undefined, context, context.deadlineMs, expected, onReply);
  }

  /** Calls the listener when the connection is lost. Returns a function that removes it. */
  onDisconnect(listener: () => void): () => void {
    return this.link.onDisconnect(listener);
  }

  /** Resolves when connected. Rejects with {@link NoReplyError} if the context ends first. */
  async untilConnected(context: CallContext): Promise<void> {
    while (!this.isConnected) {
      if (this.isClosed || this.link.connection.isClosed()) throw new NoReplyError("disconnected", false);
      if (performance.now() >= context.deadlineMs) throw new NoReplyError("deadline", false);
      if (context.signal.aborted) throw new NoReplyError("canceled", false);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, CHECK_INTERVAL_MS);
        this.connectedWaiters.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  /** Fails every request as if the connection was lost, and ignores further replies. */
  close(): void {
    this.isClosed = true;
    for (const stop of this.stopListening) stop();
    this.failAll();
    if (!this.link.connection.isClosed()) this.subscription.unsubscribe();
  }

  private send(
    subject: string,
    payload: Uint8Array,
    headers: RawHeaders | undefined,
    context: CallContext,
    deadlineMs: number,
    expected: ExpectedReply,
    onReply: Pending["onReply"],
  ): Promise<Reply> {
    if (!this.isConnected) return Promise.reject(new NoReplyError("disconnected", false));
    const sinceMs = performance.now();
    if (sinceMs >= deadlineMs) return Promise.reject(new NoReplyError("deadline", false));
    return new Promise((resolve, reject) => {
      const token = this.nextToken++;
      const pending: Pending = {
        ...{ context, sinceMs, deadlineMs, resolve, reject, onReply },
        reservation: this.link.reserveNow(expected),
      };
      this.pending.set(token, pending);
      this.timer ??= setInterval(() => this.checkAll(), CHECK_INTERVAL_MS);
      if (pending.reservation !== undefined) {
        this.post({ token, subject, payload, headers });
        return;
      }
      this.link.reserve({
        ...expected,
        flow: flowOf(context),
        isWanted: () => this.isWanted(token, pending),
        send: (reservation) => {
          pending.reservation = reservation;
          this.post({ token, subject, payload, headers });
        },
      });
    });
  }

  private isWanted(token: number, pending: Pending): boolean {
    if (!this.pending.has(token)) return false;
    if (!isCanceled(pending.context)) return true;
    this.pending.delete(token);
    pending.reject(new NoReplyError("canceled", false));
    return false;
  }

  private post(outgoing: Outgoing): void {
    if (this.outbox.length === 0) setImmediate(() => this.flush());
    this.outbox.push(outgoing);
  }

  /**
   * Sends all queued requests that are still wanted. Runs once per turn of the event loop, not per request: the client writes to its
   * socket at the end of a microtask, and that system call is the most expensive part of a request.
   */
  private flush(): void {
    const nowMs = performance.now();
    for (const { token, subject, payload, headers } of this.outbox.splice(0)) {
      const pending = this.pending.get(token);
      if (pending === undefined) {
        // It ended before it was sent.
        this.unanswered.release(token);
        continue;
      }
      const isLate = nowMs >= pending.deadlineMs;
      if (isLate || isCanceled(pending.context)) {
        this.settle(token, pending);
        pending.reject(new NoReplyError(isLate ? "deadline" : "canceled", false));
        continue;
      }
      const reply = this.inboxPrefix + token.toString();
      try {
        this.link.connection.publish(
          subject,
          payload,
          headers === undefined ? { reply } : { reply, headers },
        );
      } catch {
        // The connection is closed or closing. Callers have already checked everything else that publish refuses.
        this.pending.delete(token);
        pending.reservation?.complete();
        pending.reject(new NoReplyError("disconnected", false));
      }
    }
  }

  private handleReply(message: Msg): void {
    const token = Number(message.subject.slice(this.inboxPrefix.length));
    const pending = this.pending.get(token);
    const headers = headersOf(message);
    const reply = { status: headers.status, headers, data: message.data };
    const bytes = headers.text.length + message.data.length;
    if (pending === undefined) {
      this.unanswered.arrived(token, bytes, reply.status !== 0);
      return;
    }
    if (reply.status === NO_RESPONDERS_STATUS && reply.data.length === 0) {
      this.settle(token, pending);
      pending.reject(new NoReplyError("no_responders", false));
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
    this.pending.delete(token);
    pending.reservation?.complete();
  }

  /** Removes a request whose reply may still arrive: its bytes stay reserved. */
  private abandon(token: number, pending: Pending): void {
    this.pending.delete(token);
    if (pending.reservation !== undefined)
      this.unanswered.add(token, pending.reservation, pending.onReply !== undefined);
  }

  private checkAll(): void {
    if (this.pending.size === 0) {
      clearInterval(this.timer);
      this.timer = undefined;
      return;
    }
    const nowMs = performance.now();
    for (const [token, pending] of this.pending) {
      const { context, sinceMs, deadlineMs, reject } = pending;
      const isAborted = nowMs - sinceMs >= SIGNAL_GRACE_MS && context.signal.aborted;
      const reason = nowMs >= deadlineMs ? "deadline" : isAborted ? "canceled" : undefined;
      if (reason === undefined) continue;
      this.abandon(token, pending);
      reject(new NoReplyError(reason, pending.reservation !== undefined));
    }
  }

  /** Detects a restarted or different server: each run of a server has a new ID. */
  private detectServerRestart(): void {
    const serverId = this.link.connection.info?.server_id;
    if (serverId !== undefined && serverId === this.serverId) return;
    this.serverId = serverId;
    this.serverSinceMs = performance.now();
  }

  private failAll(): void {
    const pending = [...this.pending];
    const unsent = new Set(this.outbox.splice(0).map(({ token }) => token));
    this.pending.clear();
    this.unanswered.releaseAll();
    for (const [token, { reject, reservation }] of pending) {
      reservation?.complete();
      reject(new NoReplyError("disconnected", reservation !== undefined && !unsent.has(token)));
    }
  }
}
