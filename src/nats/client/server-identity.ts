/** Which server a connection leads to, and the cluster of that server, from what the server tells its clients (`INFO` of the NATS client protocol). */
import type { NatsConnection } from "@nats-io/transport-node";

export interface ServerIdentity {
  /** The server's name. A server without a configured one uses its ID. */
  readonly name: string;
  /** Undefined: it is a single server. */
  readonly cluster: NatsCluster | undefined;
}

export interface NatsCluster {
  readonly name: string;
  /** The client addresses that the server advertises, `host:port`, in the order of their text. */
  readonly serverAddresses: readonly string[];
}

/** The server that a connection leads to, or led to last: the client has no `INFO` while it is disconnected. */
export class LastServer {
  private known: NatsConnection["info"];

  constructor(private readonly connection: Pick<NatsConnection, "info">) {}

  current(): ServerIdentity {
    this.known = this.connection.info ?? this.known;
    const { server_name: name = "", cluster, connect_urls: addresses = [] } = this.known ?? {};
    return {
      name,
      cluster: cluster === undefined ? undefined : { name: cluster, serverAddresses: [...addresses].sort() },
    };
  }
}
