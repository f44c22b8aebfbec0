/** The state of the connections to NATS, for metrics and the log. */
import type { Link } from "./link.js";

export interface ConnectionLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** The connections' names in the log, by use. */
const NAMES = {
  calls: "the connection to NATS",
  bulk: "the connection to NATS for lists and histories",
  feed: "the connection to NATS for live changes",
};

export class ConnectionStats {
  readonly connections: readonly LinkStats[];

  constructor(links: Readonly<Record<keyof typeof NAMES, Link>>, log: ConnectionLog) {
    this.connections = (["calls", "bulk", "feed"] as const).map(
      (use) => new LinkStats(use, NAMES[use], links[use], log),
    );
  }

  /** Whether all connections are up. */
  get isConnected(): boolean {
    return this.connections.every(({ link }) => link.isConnected);
  }
}

class LinkStats {
  /** Since the start. */
  disconnects = 0;
  /** Since the start. */
  reconnects = 0;

  constructor(
    readonly use: string,
    name: string,
    readonly link: Link,
    log: ConnectionLog,
  ) {
    let isLost = false;
    link.onDisconnect(() => {
      if (isLost || link.connection.isClosed()) return;
      isLost = true;
      this.disconnects++;
      log.warn({}, `${name} was lost`);
    });
    link.onReconnect(() => {
      isLost = false;
      this.reconnects++;
      log.info({}, `${name} was re-established`);
    });
  }

  get unreadBytes(): number {
    return this.link.unread.reserved;
  }

  /** Since the start. */
  get unreadBytesPeak(): number {
    return this.link.unread.peak;
  }
}
