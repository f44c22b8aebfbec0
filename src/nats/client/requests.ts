/**
 * Requests to NATS with a deadline, a signal, and an end at once when the connection is lost.
 *
 * The client's own `request` makes several promises, a timer and a stack trace for each call, and waits out its timeout when the
 * connection is gone. Here one subscription takes all answers, one timer watches over all requests, and each costs one promise.
 * Deadlines are looked at every few milliseconds, signals after a while: they are not even made for a call that is answered soon.
 *
 * A request reserves the largest answer in the connection's budget before it is sent, and holds that until the answer has arrived.
 */
import { createInbox, type Msg, type Subscription } from "@nats-io/transport-node";
import { isCanceled } from "../../kv/call-scope.js";
import type { CallScope } from "../../kv/store.js";
import type { Link } from "./link.js";
import { HeaderBlock, headersOf, type RawHeaders } from "./messages.js";
import { Unanswered } from "./unanswered.js";
import { UnansweredBytes } from "./unanswered-bytes.js";

export { Unanswered } from "./unanswered.js";

/** An answer. `status` is that of its header block: 0 for an ordinary message. */
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
  /** For requests with several answers: takes each; the request goes on while it returns undefined. */
  readonly onReply: ((reply: Reply) => Reply | undefined) | undefined;
  /** Reserved bytes that have not arrived; undefined while the request waits for the budget. */
  reserved: number | undefined;
}

interface Outgoing {
  readonly token: number;
  readonly subject: string;
  readonly payload: Uint8Array;
  readonly headers: RawHeaders | undefined;
}

/** Bytes of an answer that counts but need not wait for room: acknowledgements, descriptions of streams and consumers. */
export const SMALL_ANSWER_BYTES = 4_096;
const CHECK_INTERVAL_MS = 20;
/** How long a request runs before its scope's signal is looked at: making one costs as much as the rest of the request. */
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
  /** When this process first saw the server's present run, in milliseconds of `performance.now()`. */
  serverSinceMs = 0;
  private timer: NodeJS.Timeout | undefined;
  private readonly stopListening: (() => void)[];

  constructor(readonly link: Link) {
    this.inboxPrefix = `${createInbox()}.`;
    this.unanswered = new UnansweredBytes(link);
    this.subscription = link.subscribe(`${this.inboxPrefix}*`, (message) => this.takeReply(message));
    this.noticeServer();
    this.stopListening = [
      link.onDisconnect(() => this.failAll()),
      link.onReconnect(() => {
        this.noticeServer();
        for (const wake of this.connectedWaiters.splice(0)) wake();
      }),
    ];
  }

  get isConnected(): boolean {
    return this.link.isConnected && !this.isClosed;
  }

  /**
   * Sends a request and resolves with its answer, of `answerBytesMax` at most: one that is larger than {@link SMALL_ANSWER_BYTES}
   * waits for its turn. Rejects with {@link Unanswered}.
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
   * Sends a request that gets several answers, together of `answerBytesMax` at most. `onReply` takes each, and ends the request by
   * returning the last, which has a status.
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

  /** Calls back when the connection is lost. Returns what stops that. */
  onDisconnect(listener: () => void): () => void {
    return this.link.onDisconnect(listener);
  }

  /** Resolves when connected. Rejects with {@link Unanswered} when the scope ends first. */
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

  /** Ends every request as if the connection was lost, and takes no answers any more. */
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

  /** Reserves room for the answer, then sends; an answer that is not small may have to wait for it. */
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
   * Sends all that was asked for since the last time. Once per turn of the event loop, not per call: the client writes to its socket
   * as soon as the current microtask ends, and a system call for every few requests is the dearest part of them. What nobody waits for
   * any more is not sent.
   */
  private flush(): void {
    const nowMs = performance.now();
    for (const { token, subject, payload, headers } of this.outbox.splice(0)) {
      const pending = this.pending.get(token);
      if (pending === undefined) {
        // It was given up before it was sent.
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
        // The connection was closed, or is about to be. What it refuses otherwise is refused before: see `Entries`.
        this.pending.delete(token);
        this.link.unread.release(pending.reserved ?? 0);
        pending.reject(new Unanswered("disconnected", false));
      }
    }
  }

  private takeReply(message: Msg): void {
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

  /** The answer is here, or was never asked for. */
  private settle(token: number, pending: Pending): void {
    this.pending.delete(token);
    this.link.unread.release(pending.reserved ?? 0);
  }

  /** Nobody waits any more; the answer may still be on its way. */
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

  /** A server takes a new id with each run. */
  private noticeServer(): void {
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
