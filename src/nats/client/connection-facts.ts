/** What the connections to NATS go through, for metrics and the log. */
import type { Link } from "./link.js";

export interface ConnectionLog {
  info(facts: object, sentence: string): void;
  warn(facts: object, sentence: string): void;
}

/** Names of the connections in the log, by what they are for. */
const NAMES = {
  calls: "the connection to NATS",
  bulk: "the connection to NATS for lists and histories",
  feed: "the connection to NATS for live changes",
};

export class ConnectionFacts {
  readonly connections: readonly LinkFacts[];

  constructor(links: Readonly<Record<keyof typeof NAMES, Link>>, log: ConnectionLog) {
    this.connections = (["calls", "bulk", "feed"] as const).map(
      (use) => new LinkFacts(use, NAMES[use], links[use], log),
    );
  }

  /** Whether all connections are up. */
  get isConnected(): boolean {
    return this.connections.every(({ link }) => link.isConnected);
  }
}

class LinkFacts {
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
      log.warn({}, `${name} is lost`);
    });
    link.onReconnect(() => {
      isLost = false;
      this.reconnects++;
      log.info({}, `${name} is back`);
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
