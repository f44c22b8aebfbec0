/**
 * NATS requests with a deadline and a signal, which fail at once when the connection is lost. A request on a connection that is not back yet
 * waits for it while NATS is available.
 *
 * The client's own `request` creates several promises, a timer and a stack trace per call, and waits for its timeout when the connection
 * is lost. Here one subscription receives all replies, one timer checks all requests, and a request costs one promise. Deadlines are
 * checked every few milliseconds. Signals are checked later, so a request with a fast reply never creates its signal.
 *
 * A request reserves the size of its largest reply in the connection's byte budget before it is sent, until the reply has arrived.
 */
import { createInbox, type Msg, type Subscription } from "@nats-io/transport-node";
import { type CallContext, flowOf } from "../../kv/call-context.js";
import { type ExpectedReply, type Link, SMALL_ANSWER_BYTES } from "./link.js";
import { headersOf, type RawHeaders } from "./messages.js";
import { type Outgoing, Outbox } from "./outbox.js";
import { type Pending, PendingRequests, type Reply } from "./pending-requests.js";
import { NoReplyError } from "./no-reply.js";
import { untilConnected } from "./until-connected.js";

export { SMALL_ANSWER_BYTES } from "./link.js";
export type { Reply } from "./pending-requests.js";
export { NoReplyError } from "./no-reply.js";

/** The context of one attempt of a request. */
export interface AttemptContext extends CallContext {
  /** How long the reply may take after the request was sent; what it waits before that does not count. Default: until the deadline. */
  readonly answerTimeoutMs?: number;
}

/** A request that is not sent yet: see {@link Requests.queue}. */
export interface QueuedRequest {
  readonly token: number;
  readonly reply: Promise<Reply>;
}

/** A message of a queued request. */
export interface QueuedMessage {
  /** Undefined: the message is sent for the next request, whose reply answers for it too. The last message has a request. */
  readonly request: QueuedRequest | undefined;
  readonly subject: string;
  readonly payload: Uint8Array;
  readonly headers: RawHeaders;
  /** How long to wait for the reply, in milliseconds. */
  readonly answerTimeoutMs: number;
}

const SMALL_REPLY: ExpectedReply = { bytesMax: SMALL_ANSWER_BYTES };

export class Requests {
  private readonly inboxPrefix: string;
  private readonly subscription: Subscription;
  private readonly pending: PendingRequests;
  private readonly outbox: Outbox;
  private nextToken = 1;
  private isClosed = false;
  private serverId: string | undefined;
  /** When this process first connected to the server's current run, in milliseconds of `performance.now()`. */
  serverSinceMs = 0;
  /** When the connection was last lost, in milliseconds of `performance.now()`. */
  lostAtMs = -Infinity;
  private readonly stopListening: (() => void)[];

  constructor(readonly link: Link) {
    this.inboxPrefix = `${createInbox()}.`;
    this.pending = new PendingRequests(link);
    this.outbox = new Outbox(link, this.pending, this.inboxPrefix);
    this.subscription = link.subscribe(`${this.inboxPrefix}*`, (message) => this.handleReply(message));
    this.detectServerRestart();
    this.stopListening = [
      link.onDisconnect(() => {
        this.lostAtMs = performance.now();
        this.failAll();
      }),
      link.onReconnect(() => this.detectServerRestart()),
    ];
  }

  get isConnected(): boolean {
    return this.link.isConnected && !this.isClosed;
  }

  /** Whether a request would be sent, now or when its connection is back: see `Link.isReachable`. */
  get isReachable(): boolean {
    return this.link.isReachable && !this.isClosed;
  }

  /**
   * Sends a request and resolves with its reply. A request with a reply that may exceed {@link SMALL_ANSWER_BYTES}, the default, waits for
   * the byte budget. Rejects with {@link NoReplyError}.
   */
  one(
    subject: string,
    payload: Uint8Array,
    headers: RawHeaders | undefined,
    context: AttemptContext,
    expected = SMALL_REPLY,
    answerTimeoutMs = context.answerTimeoutMs,
  ): Promise<Reply> {
    return this.send(subject, payload, headers, context, expected, answerTimeoutMs, undefined);
  }

  /**
   * Sends a request with several replies; `expected` is their size together. Calls `onReply` with each, until it returns one: the last, which
   * has a status.
   */
  many(
    subject: string,
    payload: Uint8Array,
    context: AttemptContext,
    expected: ExpectedReply,
    onReply: (reply: Reply) => Reply | undefined,
  ): Promise<Reply> {
    return this.send(subject, payload, undefined, context, expected, context.answerTimeoutMs, onReply);
  }

  /** Adds a request that {@link sendTogether} sends later. Until then, it ends unsent with its context or the connection. */
  queue(context: CallContext): QueuedRequest {
    const token = this.nextToken++;
    const reply = new Promise<Reply>((resolve, reject) => {
      const sinceMs = performance.now();
      const { deadlineMs } = context;
      const reason = this.isConnected ? (sinceMs >= deadlineMs ? "deadline" : undefined) : "disconnected";
      if (reason === undefined)
        this.pending.add(token, {
          context,
          sinceMs,
          deadlineMs,
          answerTimeoutMs: undefined,
          resolve,
          reject,
          onReply: undefined,
          reservation: undefined,
        });
      else reject(new NoReplyError(reason, false));
    });
    return { token, reply };
  }

  /** Whether a queued request is still to be sent. If its deadline has passed or its caller has canceled it, it ends unsent. */
  isStillWanted({ token }: QueuedRequest): boolean {
    return this.pending.wanted(token, performance.now()) !== undefined;
  }

  /**
   * Sends the messages of queued requests at once, in order. One reply, to the last message, answers all of the requests. Call it in the
   * turn of the event loop in which {@link isStillWanted} was true for each.
   */
  sendTogether(messages: readonly QueuedMessage[]): void {
    const tokens = messages.flatMap(({ request }) => (request === undefined ? [] : [request.token]));
    const last = messages.at(-1);
    const replyToken = tokens.length === 1 ? (tokens[0] as number) : this.nextToken++;
    if (tokens.length > 1) this.pending.shareReply(replyToken, tokens);
    const nowMs = performance.now();
    const reply = this.inboxPrefix + replyToken.toString();
    try {
      for (const message of messages) {
        const { request, subject, payload, headers, answerTimeoutMs } = message;
        const pending = request && this.pending.get(request.token);
        if (pending !== undefined) {
          pending.deadlineMs = Math.min(pending.deadlineMs, nowMs + answerTimeoutMs);
          pending.reservation = this.link.reserveNow(SMALL_REPLY);
        }
        const options = message === last ? { reply, headers } : { headers };
        this.link.connection.publish(subject, payload, options);
      }
    } catch {
      // The connection is closed or closing: the last message was not sent, so none has an effect.
      for (const token of tokens) this.pending.reject(token, "disconnected");
    }
  }

  /** Runs the task when queued messages are sent next: what it sends leaves in the same write. */
  atNextFlush(task: () => void): void {
    this.outbox.atNextFlush(task);
  }

  /** Calls the listener when the connection is lost. Returns a function that removes it. */
  onDisconnect(listener: () => void): () => void {
    return this.link.onDisconnect(listener);
  }

  /** Resolves when connected. Rejects with {@link NoReplyError} if the context ends first. */
  untilConnected(context: CallContext): Promise<void> {
    return untilConnected(this.link, context, () => !this.isClosed && !this.link.connection.isClosed());
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
    context: AttemptContext,
    expected: ExpectedReply,
    answerTimeoutMs: number | undefined,
    onReply: Pending["onReply"],
  ): Promise<Reply> {
    if (!this.isConnected) {
      if (!this.isReachable) return Promise.reject(new NoReplyError("disconnected", false));
      return untilConnected(this.link, context, () => this.isReachable).then(() =>
        this.send(subject, payload, headers, context, expected, answerTimeoutMs, onReply),
      );
    }
    const sinceMs = performance.now();
    const { deadlineMs } = context;
    if (sinceMs >= deadlineMs) return Promise.reject(new NoReplyError("deadline", false));
    return new Promise((resolve, reject) => {
      const token = this.nextToken++;
      const pending: Pending = {
        context,
        sinceMs,
        deadlineMs,
        answerTimeoutMs,
        resolve,
        reject,
        onReply,
        reservation: this.link.reserveNow(expected),
      };
      this.pending.add(token, pending);
      if (pending.reservation !== undefined) {
        this.post(pending, { token, subject, payload, headers });
        return;
      }
      this.link.reserve({
        ...expected,
        flow: flowOf(context),
        isWanted: () => this.pending.isWanted(token, pending),
        send: (reservation) => {
          pending.reservation = reservation;
          this.post(pending, { token, subject, payload, headers });
        },
      });
    });
  }

  private post(pending: Pending, outgoing: Outgoing): void {
    const { answerTimeoutMs } = pending;
    if (answerTimeoutMs !== undefined)
      pending.deadlineMs = Math.min(pending.deadlineMs, performance.now() + answerTimeoutMs);
    this.outbox.add(outgoing);
  }

  private handleReply(message: Msg): void {
    const token = Number(message.subject.slice(this.inboxPrefix.length));
    const headers = headersOf(message);
    const reply = { status: headers.status, headers, data: message.data };
    this.pending.receive(token, reply);
  }

  /** Detects a restarted or different server: each run of a server has a new ID. */
  private detectServerRestart(): void {
    const serverId = this.link.connection.info?.server_id;
    if (serverId !== undefined && serverId === this.serverId) return;
    this.serverId = serverId;
    this.serverSinceMs = performance.now();
  }

  private failAll(): void {
    const unsent = this.outbox.clear();
    const reason = this.isReachable ? "interrupted" : "disconnected";
    this.pending.failAll(reason, (token) => unsent.has(token));
  }
}
