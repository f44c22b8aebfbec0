/**
 * Requests to NATS with a deadline, a signal, and an end at once when the connection is lost.
 *
 * The client's own `request` makes several promises, a timer and a stack trace for each call, and waits out its timeout when the
 * connection is gone. Here one subscription takes all answers, one timer watches over all requests, and each costs one promise.
 * Deadlines are looked at every few milliseconds, signals after a while: they are not even made for a call that is answered soon.
 */
import { createInbox, type Msg, type NatsConnection, type Subscription } from "@nats-io/transport-node";
import { isCanceled } from "../kv/call-scope.js";
import type { CallScope } from "../kv/store.js";
import { HeaderBlock, headersOf, type RawHeaders } from "./messages.js";

/** An answer. `status` is that of its header block: 0 for an ordinary message. */
export interface Reply {
  readonly status: number;
  readonly headers: HeaderBlock;
  readonly data: Uint8Array;
}

/** A request that got no answer. `sent` is false where nothing can have left this process. */
export class Unanswered extends Error {
  override readonly name = "Unanswered";
  constructor(
    readonly reason: "deadline" | "canceled" | "disconnected" | "no_responders",
    readonly sent: boolean,
  ) {
    super(reason);
  }
}

interface Pending {
  readonly scope: CallScope;
  readonly sinceMs: number;
  readonly deadlineMs: number;
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: Unanswered) => void;
  /** For requests with several answers: takes each; the request goes on while it returns undefined. */
  readonly onReply: ((reply: Reply) => Reply | undefined) | undefined;
}

interface Outgoing {
  readonly token: number;
  readonly subject: string;
  readonly payload: Uint8Array;
  readonly headers: RawHeaders | undefined;
}

const CHECK_INTERVAL_MS = 20;
/** How long a request runs before its scope's signal is looked at: making one costs as much as the rest of the request. */
const SIGNAL_GRACE_MS = 200;
const NO_RESPONDERS_STATUS = 503;

export class Requests {
  private readonly inboxPrefix: string;
  private readonly subscription: Subscription;
  private readonly pending = new Map<number, Pending>();
  private readonly outbox: Outgoing[] = [];
  private readonly disconnectListeners = new Set<() => void>();
  private connectedWaiters: (() => void)[] = [];
  private nextToken = 1;
  private isUp = true;
  private serverId: string | undefined;
  /** When this process first saw the server's present run, in milliseconds of `performance.now()`. */
  serverSinceMs = 0;
  private timer: NodeJS.Timeout | undefined;

  constructor(readonly connection: NatsConnection) {
    this.inboxPrefix = `${createInbox()}.`;
    this.subscription = connection.subscribe(`${this.inboxPrefix}*`, {
      callback: (error, message) => {
        if (error === null) this.takeReply(message);
      },
    });
    this.noticeServer();
    void this.followStatus();
  }

  get isConnected(): boolean {
    return this.isUp && !this.connection.isClosed();
  }

  /** Sends a request and resolves with its answer. Rejects with {@link Unanswered}. */
  one(
    subject: string,
    payload: Uint8Array,
    headers: RawHeaders | undefined,
    scope: CallScope,
    deadlineMs = scope.deadlineMs,
  ): Promise<Reply> {
    return this.send(subject, payload, headers, scope, deadlineMs, undefined);
  }

  /** Sends a request that gets several answers; `onReply` takes each, and ends the request by returning the last. */
  many(
    subject: string,
    payload: Uint8Array,
    scope: CallScope,
    onReply: (reply: Reply) => Reply | undefined,
  ): Promise<Reply> {
    return this.send(subject, payload, undefined, scope, scope.deadlineMs, onReply);
  }

  /** Calls back when the connection is lost. Returns what stops that. */
  onDisconnect(listener: () => void): () => void {
    this.disconnectListeners.add(listener);
    return () => this.disconnectListeners.delete(listener);
  }

  /** Resolves when connected. Rejects with {@link Unanswered} when the scope ends first. */
  async untilConnected(scope: CallScope): Promise<void> {
    while (!this.isConnected) {
      if (this.connection.isClosed()) throw new Unanswered("disconnected", false);
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
    this.isUp = false;
    this.failAll();
    if (!this.connection.isClosed()) this.subscription.unsubscribe();
  }

  private send(
    subject: string,
    payload: Uint8Array,
    headers: RawHeaders | undefined,
    scope: CallScope,
    deadlineMs: number,
    onReply: Pending["onReply"],
  ): Promise<Reply> {
    if (!this.isConnected) return Promise.reject(new Unanswered("disconnected", false));
    const sinceMs = performance.now();
    if (sinceMs >= deadlineMs) return Promise.reject(new Unanswered("deadline", false));
    return new Promise((resolve, reject) => {
      const token = this.nextToken++;
      if (this.outbox.length === 0) setImmediate(() => this.flush());
      this.outbox.push({ token, subject, payload, headers });
      this.pending.set(token, { scope, sinceMs, deadlineMs, resolve, reject, onReply });
      this.timer ??= setInterval(() => this.checkAll(), CHECK_INTERVAL_MS);
    });
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
      if (pending === undefined) continue;
      const isLate = nowMs >= pending.deadlineMs;
      if (isLate || isCanceled(pending.scope)) {
        this.pending.delete(token);
        pending.reject(new Unanswered(isLate ? "deadline" : "canceled", false));
        continue;
      }
      const reply = this.inboxPrefix + token.toString();
      try {
        this.connection.publish(subject, payload, headers === undefined ? { reply } : { reply, headers });
      } catch {
        // The connection was closed, or is about to be. What it refuses otherwise is refused before: see `Entries`.
        this.pending.delete(token);
        pending.reject(new Unanswered("disconnected", false));
      }
    }
  }

  private takeReply(message: Msg): void {
    const token = Number(message.subject.slice(this.inboxPrefix.length));
    const pending = this.pending.get(token);
    if (pending === undefined) return;
    const headers = headersOf(message);
    const reply = { status: headers.status, headers, data: message.data };
    if (reply.status === NO_RESPONDERS_STATUS && reply.data.length === 0) {
      this.pending.delete(token);
      pending.reject(new Unanswered("no_responders", false));
      return;
    }
    const last = pending.onReply === undefined ? reply : pending.onReply(reply);
    if (last === undefined) return;
    this.pending.delete(token);
    pending.resolve(last);
  }

  private checkAll(): void {
    if (this.pending.size === 0) {
      clearInterval(this.timer);
      this.timer = undefined;
      return;
    }
    const nowMs = performance.now();
    for (const [token, { scope, sinceMs, deadlineMs, reject }] of this.pending) {
      const isAborted = nowMs - sinceMs >= SIGNAL_GRACE_MS && scope.signal.aborted;
      const reason = nowMs >= deadlineMs ? "deadline" : isAborted ? "canceled" : undefined;
      if (reason === undefined) continue;
      this.pending.delete(token);
      reject(new Unanswered(reason, true));
    }
  }

  /** A server takes a new id with each run. */
  private noticeServer(): void {
    const serverId = this.connection.info?.server_id;
    if (serverId !== undefined && serverId === this.serverId) return;
    this.serverId = serverId;
    this.serverSinceMs = performance.now();
  }

  private failAll(): void {
    const pending = [...this.pending];
    const unsent = new Set(this.outbox.splice(0).map(({ token }) => token));
    this.pending.clear();
    for (const [token, { reject }] of pending) reject(new Unanswered("disconnected", !unsent.has(token)));
    for (const listener of [...this.disconnectListeners]) listener();
  }

  private async followStatus(): Promise<void> {
    for await (const status of this.connection.status()) {
      if (status.type === "disconnect" || status.type === "close") {
        this.isUp = false;
        this.failAll();
      } else if (status.type === "reconnect") {
        this.isUp = true;
        this.noticeServer();
        for (const wake of this.connectedWaiters.splice(0)) wake();
      }
    }
    this.isUp = false;
    this.failAll();
  }
}
