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
import { isCanceled } from "../../kv/call-scope.js";
import type { CallScope } from "../../kv/store.js";
import type { Link } from "./link.js";
import { HeaderBlock, headersOf, type RawHeaders } from "./messages.js";
import { Unanswered } from "./unanswered.js";
import { UnansweredBytes } from "./unanswered-bytes.js";

export { Unanswered } from "./unanswered.js";

/** A reply. `status`: from its header block; 0 for an ordinary message. */
export interface Reply {
  readonly status: number;
  readonly headers: HeaderBlock;
  readonly data: Uint8Array;
}

interface Pending {
  readonly scope: CallScope;
  readonly sinceMs: number;
  readonly deadlineMs: number;
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: unknown) => void;
  /** For requests with several replies: called with each, until it does not return undefined. */
  readonly onReply: ((reply: Reply) => Reply | undefined) | undefined;
  /** Reserved bytes that have not arrived yet; undefined while the request waits for the budget. */
  reserved: number | undefined;
}

interface Outgoing {
  readonly token: number;
  readonly subject: string;
  readonly payload: Uint8Array;
  readonly headers: RawHeaders | undefined;
}

/** Replies up to this size are counted but do not wait for the budget: acknowledgements, stream and consumer info. */
export const SMALL_ANSWER_BYTES = 4_096;
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
   * Sends a request and resolves with its reply. `answerBytesMax`: the largest possible reply; above {@link SMALL_ANSWER_BYTES}, the
   * request waits for the byte budget. Rejects with {@link Unanswered}.
   */
  one(
    subject: string,
    payload: Uint8Array,
    headers: RawHeaders | undefined,
    scope: CallScope,
    deadlineMs = scope.deadlineMs,
    answerBytesMax = SMALL_ANSWER_BYTES,
  ): Promise<Reply> {
    return this.send(subject, payload, headers, scope, deadlineMs, answerBytesMax, undefined);
  }

  /**
   * Sends a request with several replies, of at most `answerBytesMax` bytes together. Calls `onReply` with each, until it returns one:
   * the last, which has a status.
   */
  many(
    subject: string,
    payload: Uint8Array,
    scope: CallScope,
    answerBytesMax: number,
    onReply: (reply: Reply) => Reply | undefined,
  ): Promise<Reply> {
    return this.send(subject, payload, undefined, scope, scope.deadlineMs, answerBytesMax, onReply);
  }

  /** Calls the listener when the connection is lost. Returns a function that removes it. */
  onDisconnect(listener: () => void): () => void {
    return this.link.onDisconnect(listener);
  }

  /** Resolves when connected. Rejects with {@link Unanswered} if the scope ends first. */
  async untilConnected(scope: CallScope): Promise<void> {
    while (!this.isConnected) {
      if (this.isClosed || this.link.connection.isClosed()) throw new Unanswered("disconnected", false);
      if (performance.now() >= scope.deadlineMs) throw new Unanswered("deadline", false);
      if (scope.signal.aborted) throw new Unanswered("canceled", false);
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
    scope: CallScope,
    deadlineMs: number,
    answerBytesMax: number,
    onReply: Pending["onReply"],
  ): Promise<Reply> {
    if (!this.isConnected) return Promise.reject(new Unanswered("disconnected", false));
    const sinceMs = performance.now();
    if (sinceMs >= deadlineMs) return Promise.reject(new Unanswered("deadline", false));
    return new Promise((resolve, reject) => {
      const token = this.nextToken++;
      const outgoing = { token, subject, payload, headers };
      const pending: Pending = { scope, sinceMs, deadlineMs, resolve, reject, onReply, reserved: undefined };
      this.pending.set(token, pending);
      this.timer ??= setInterval(() => this.checkAll(), CHECK_INTERVAL_MS);
      this.reserve(outgoing, pending, answerBytesMax);
    });
  }

  /** Reserves bytes for the reply, possibly after a wait, and then sends the request. */
  private reserve(outgoing: Outgoing, pending: Pending, answerBytesMax: number): void {
    const { unread } = this.link;
    const bytes = unread.sizeOf(answerBytesMax);
    if (bytes <= SMALL_ANSWER_BYTES) unread.count(bytes);
    else if (!unread.tryReserve(bytes)) {
      unread.reserve(bytes, () => {
        if (!this.pending.has(outgoing.token)) return false;
        if (isCanceled(pending.scope)) {
          this.pending.delete(outgoing.token);
          pending.reject(new Unanswered("canceled", false));
          return false;
        }
        pending.reserved = bytes;
        this.post(outgoing);
        return true;
      });
      return;
    }
    pending.reserved = bytes;
    this.post(outgoing);
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
      if (isLate || isCanceled(pending.scope)) {
        this.settle(token, pending);
        pending.reject(new Unanswered(isLate ? "deadline" : "canceled", false));
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
        this.link.unread.release(pending.reserved ?? 0);
        pending.reject(new Unanswered("disconnected", false));
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
      pending.reject(new Unanswered("no_responders", false));
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
        const arrived = Math.min(bytes, pending.reserved ?? 0);
        pending.reserved = (pending.reserved ?? 0) - arrived;
        this.link.unread.release(arrived);
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
    this.link.unread.release(pending.reserved ?? 0);
  }

  /** Removes a request whose reply may still arrive: its bytes stay reserved. */
  private abandon(token: number, pending: Pending): void {
    this.pending.delete(token);
    if (pending.reserved !== undefined)
      this.unanswered.add(token, pending.reserved, pending.onReply !== undefined);
  }

  private checkAll(): void {
    if (this.pending.size === 0) {
      clearInterval(this.timer);
      this.timer = undefined;
      return;
    }
    const nowMs = performance.now();
    for (const [token, pending] of this.pending) {
      const { scope, sinceMs, deadlineMs, reject } = pending;
      const isAborted = nowMs - sinceMs >= SIGNAL_GRACE_MS && scope.signal.aborted;
      const reason = nowMs >= deadlineMs ? "deadline" : isAborted ? "canceled" : undefined;
      if (reason === undefined) continue;
      this.abandon(token, pending);
      reject(new Unanswered(reason, pending.reserved !== undefined));
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
    for (const [token, { reject, reserved }] of pending) {
      this.link.unread.release(reserved ?? 0);
      reject(new Unanswered("disconnected", reserved !== undefined && !unsent.has(token)));
    }
  }
}
