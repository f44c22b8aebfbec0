/** One connection to NATS: its state, its byte budget, and subscriptions whose callbacks may throw. */
import { setTimeout as delay } from "node:timers/promises";
import type { Msg, NatsConnection, Subscription } from "@nats-io/transport-node";
import { BulkReads } from "./bulk-reads.js";
import { ByteBudget } from "./byte-budget.js";
import { frameOf, listenToFrames, type OnFrame } from "./frames.js";
import type { Log } from "./log.js";
import { Reservation } from "./reservation.js";

export interface LinkOptions {
  /** See `Limits.natsUnreadBytesMax`. */
  readonly unreadBytesMax: number;
  readonly log: Log;
  /** The connection that tells whether NATS is available, for one that may be back later. Default: this one. */
  readonly main?: Link | undefined;
}

/** The size of the replies to a request, together. */
export interface ExpectedReply {
  /** The largest possible size. */
  readonly bytesMax: number;
  /** The probable size, for a bulk read: it waits for its turn. Default: not a bulk read. */
  readonly bulkBytes?: number | undefined;
}

interface ReplyRequest extends ExpectedReply {
  /** The caller: callers take turns. */
  readonly flow: unknown;
  readonly isWanted: () => boolean;
  /** Sends the request. Called at most once; its exceptions are logged. */
  readonly send: (reservation: Reservation) => void;
}

/** Replies up to this size are counted but do not wait for the budget: acknowledgements, stream and consumer info. */
export const SMALL_ANSWER_BYTES = 4_096;
/** The longest that a connection which is back counts as down. */
const READY_WAIT_MS_MAX = 500;

/** The most distinct faults that are logged. */
const LOGGED_FAULTS_MAX = 100;

export class Link {
  /** The budget of bytes in flight from NATS. */
  readonly unread: ByteBudget;
  readonly bulkReads = new BulkReads();
  private readonly disconnectListeners = new Set<() => void>();
  private readonly reconnectListeners = new Set<() => void>();
  private readonly loggedFaults = new Set<string>();
  private readonly unreachableListeners = new Set<() => void>();
  /** Whether the socket is connected. */
  private isOnline = true;
  /** Whether the connection counts as up: see {@link waitAfterOutages}. */
  private isUp = true;
  private outages = 0;
  private ready: (() => Promise<void>) | undefined;

  constructor(
    readonly connection: NatsConnection,
    private readonly options: LinkOptions,
  ) {
    this.unread = new ByteBudget(options.unreadBytesMax);
    options.main?.onDisconnect(() => this.checkReachable());
    void this.followStatus();
  }

  /** After an outage, the connection counts as up when `ready` resolves, or after {@link READY_WAIT_MS_MAX}. */
  waitAfterOutages(ready: () => Promise<void>): void {
    this.ready = ready;
  }

  get isConnected(): boolean {
    return this.isUp && !this.connection.isClosed();
  }

  /** Whether a request is worth waiting for: the connection is up, or NATS is available and the connection will be up soon. */
  get isReachable(): boolean {
    if (this.connection.isClosed()) return false;
    return this.isOnline || this.options.main?.isReachable === true;
  }

  /** Reserves bytes for a reply if it need not wait. Undefined: use {@link reserve}. */
  reserveNow({ bytesMax, bulkBytes }: ExpectedReply): Reservation | undefined {
    const { unread } = this;
    const bytes = unread.sizeOf(bytesMax);
    if (bytes <= SMALL_ANSWER_BYTES) unread.count(bytes);
    else if (bulkBytes !== undefined || !unread.tryReserve(bytes)) return undefined;
    return new Reservation(unread, bytes, undefined);
  }

  /** Waits for the request's turn, reserves bytes for its reply, and sends it. */
  reserve(request: ReplyRequest): void {
    const { flow, isWanted, bulkBytes } = request;
    if (bulkBytes === undefined) {
      this.reserveBytes(request, undefined);
      return;
    }
    const start = (): void => this.reserveBytes(request, this.bulkReads);
    this.bulkReads.start({ flow, expectedBytes: bulkBytes, isWanted, start });
  }

  private reserveBytes(request: ReplyRequest, bulkReads: BulkReads | undefined): void {
    const { unread } = this;
    const bytes = unread.sizeOf(request.bytesMax);
    const onGranted = (): boolean => {
      if (!request.isWanted()) {
        bulkReads?.end();
        return false;
      }
      this.send(request, new Reservation(unread, bytes, bulkReads));
      return true;
    };
    unread.reserve(bytes, onGranted, request.flow);
  }

  private send(request: ReplyRequest, reservation: Reservation): void {
    try {
      request.send(reservation);
    } catch (fault) {
      reservation.complete();
      this.logFault(fault);
    }
  }

  /**
   * Calls `onMessage` with each message. Catches and logs its exceptions: an exception of any callback would end the client's only read
   * loop of the connection. `onRefused`: called if the server does not permit the subscription.
   */
  subscribe(
    subject: string,
    onMessage: (message: Msg) => void,
    onRefused: (error: Error) => void = () => undefined,
  ): Subscription {
    return this.connection.subscribe(subject, {
      callback: (error, message) => {
        try {
          if (error === null) onMessage(message);
          else onRefused(error);
        } catch (fault) {
          this.logFault(fault);
        }
      },
    });
  }

  /** The same for messages of which only some bytes are wanted. */
  subscribeFrames(subject: string, onFrame: OnFrame): Subscription {
    const subscription = this.subscribe(subject, (message) => onFrame(frameOf(message)));
    listenToFrames(this.connection, subscription, (frame) => {
      try {
        onFrame(frame);
      } catch (fault) {
        this.logFault(fault);
      }
    });
    return subscription;
  }

  /** Calls the listener when the connection is lost. Returns a function that removes it. */
  onDisconnect(listener: () => void): () => void {
    this.disconnectListeners.add(listener);
    return () => this.disconnectListeners.delete(listener);
  }

  /** Calls the listener when the connection is re-established. Returns a function that removes it. */
  onReconnect(listener: () => void): () => void {
    this.reconnectListeners.add(listener);
    return () => this.reconnectListeners.delete(listener);
  }

  /** Calls the listener when the connection is lost and NATS is unavailable. Returns a function that removes it. */
  onUnreachable(listener: () => void): () => void {
    this.unreachableListeners.add(listener);
    return () => this.unreachableListeners.delete(listener);
  }

  /** Logs an exception of a callback, if none with the same message was logged before. */
  logFault(fault: unknown): void {
    const kind = fault instanceof Error ? `${fault.name} ${fault.message}` : String(fault);
    if (this.loggedFaults.has(kind) || this.loggedFaults.size >= LOGGED_FAULTS_MAX) return;
    this.loggedFaults.add(kind);
    this.options.log.warn({ err: fault }, "a message from NATS was skipped: its handler failed");
  }

  private async followStatus(): Promise<void> {
    for await (const { type } of this.connection.status()) {
      if (type === "disconnect" || type === "close") this.down();
      else if (type === "reconnect") void this.up(++this.outages);
    }
    this.down();
  }

  private async up(outage: number): Promise<void> {
    this.isOnline = true;
    if (this.ready !== undefined) await Promise.race([this.ready(), delay(READY_WAIT_MS_MAX)]);
    if (outage !== this.outages) return;
    this.isUp = true;
    for (const listener of [...this.reconnectListeners]) listener();
  }

  private down(): void {
    this.outages++;
    this.isOnline = false;
    this.isUp = false;
    for (const listener of [...this.disconnectListeners]) listener();
    this.checkReachable();
  }

  private checkReachable(): void {
    if (this.isReachable) return;
    for (const listener of [...this.unreachableListeners]) listener();
  }
}
