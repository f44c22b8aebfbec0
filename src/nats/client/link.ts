/** One connection to NATS: whether it is up, the budget of what NATS may send us over it, and the one place where callbacks subscribe. */
import type { Msg, NatsConnection, Subscription } from "@nats-io/transport-node";
import { ByteBudget } from "./byte-budget.js";
import type { Log } from "./log.js";

export interface LinkOptions {
  /** See `Limits.natsUnreadBytesMax`. */
  readonly unreadBytesMax: number;
  readonly log: Log;
}

/** The most that is remembered of faults that were logged. */
const LOGGED_FAULTS_MAX = 100;

export class Link {
  /** What NATS may have on its way to us. */
  readonly unread: ByteBudget;
  private readonly disconnectListeners = new Set<() => void>();
  private readonly reconnectListeners = new Set<() => void>();
  private readonly loggedFaults = new Set<string>();
  private isUp = true;

  constructor(
    readonly connection: NatsConnection,
    private readonly options: LinkOptions,
  ) {
    this.unread = new ByteBudget(options.unreadBytesMax);
    void this.followStatus();
  }

  get isConnected(): boolean {
    return this.isUp && !this.connection.isClosed();
  }

  /**
   * Calls `onMessage` with each message. What it throws is logged once and goes no further: the client reads a connection in one loop,
   * which the first exception of any callback would end for good. `onRefused`: the server does not allow the subscription.
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

  /** Calls back when the connection is lost. Returns what stops that. */
  onDisconnect(listener: () => void): () => void {
    this.disconnectListeners.add(listener);
    return () => this.disconnectListeners.delete(listener);
  }

  /** Calls back when the connection is back. Returns what stops that. */
  onReconnect(listener: () => void): () => void {
    this.reconnectListeners.add(listener);
    return () => this.reconnectListeners.delete(listener);
  }

  /** Logs an exception that a callback threw, the first of each kind. */
  logFault(fault: unknown): void {
    const kind = fault instanceof Error ? `${fault.name} ${fault.message}` : String(fault);
    if (this.loggedFaults.has(kind) || this.loggedFaults.size >= LOGGED_FAULTS_MAX) return;
    this.loggedFaults.add(kind);
    this.options.log.warn({ err: fault }, "a message from NATS could not be handled; it is skipped");
  }

  private async followStatus(): Promise<void> {
    for await (const { type } of this.connection.status()) {
      if (type === "disconnect" || type === "close") this.down();
      else if (type === "reconnect") {
        this.isUp = true;
        for (const listener of [...this.reconnectListeners]) listener();
      }
    }
    this.down();
  }

  private down(): void {
    this.isUp = false;
    for (const listener of [...this.disconnectListeners]) listener();
  }
}
