/** What the connection to NATS goes through, for metrics and the log. */
import type { NatsConnection } from "@nats-io/transport-node";

export interface ConnectionLog {
  info(facts: object, sentence: string): void;
  warn(facts: object, sentence: string): void;
}

export class ConnectionFacts {
  isConnected = true;
  /** Since the start. */
  disconnects = 0;
  /** Since the start. */
  reconnects = 0;

  constructor(connection: NatsConnection, log: ConnectionLog) {
    void this.follow(connection, log);
  }

  private async follow(connection: NatsConnection, log: ConnectionLog): Promise<void> {
    for await (const status of connection.status()) {
      if (status.type === "disconnect" && this.isConnected) {
        this.isConnected = false;
        this.disconnects++;
        log.warn({}, "the connection to NATS is lost");
      } else if (status.type === "reconnect") {
        this.isConnected = true;
        this.reconnects++;
        log.info({}, "the connection to NATS is back");
      }
    }
    this.isConnected = false;
  }
}
