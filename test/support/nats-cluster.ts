/** A cluster of real nats-servers whose nodes can be cut off from each other, while their clients still reach them. */
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { freePort, startNatsServer, type TestNatsServer } from "./nats-server.js";

export interface TestCluster {
  /** The nodes, named n0, n1, ... */
  readonly servers: readonly TestNatsServer[];
  /** Holds back all that passes between this node and the others, as a network that loses everything. */
  cutOff(node: number): void;
  /** Lets everything pass again, what was held back first. */
  heal(): void;
  remove(): Promise<void>;
}

/** Where nothing listens. Nodes tell each other of third ones: a route by such an address would go past the relays. */
const NOWHERE = "127.0.0.1:1";

/**
 * Starts a cluster. Every route between two nodes runs through a relay. `advertises`: whether the nodes tell their clients of each other.
 */
export async function startNatsCluster(nodes = 3, advertises = false): Promise<TestCluster> {
  const ports = await Promise.all(Array.from({ length: nodes }, freePort));
  const relays: Relay[] = [];
  for (let from = 0; from < nodes; from++) {
    for (const [to, port] of ports.entries()) if (to !== from) relays.push(await Relay.open(from, to, port));
  }
  const servers = await Promise.all(
    ports.map((port, node) => {
      const routes = relays
        .filter(({ from }) => from === node)
        .map((relay) => `"nats://127.0.0.1:${relay.port}"`);
      return startNatsServer({
        config: `server_name: n${node}
cluster { name: c, listen: "127.0.0.1:${port}", advertise: "${NOWHERE}", no_advertise: ${!advertises}, routes: [${routes.join(", ")}] }`,
      });
    }),
  );
  return {
    servers,
    cutOff(node) {
      for (const relay of relays) if (relay.from === node || relay.to === node) relay.hold();
    },
    heal() {
      for (const relay of relays) relay.release();
    },
    async remove() {
      await Promise.all(servers.map((server) => server.remove()));
      await Promise.all(relays.map((relay) => relay.close()));
    },
  };
}

/** Passes connections of one node on to another. */
class Relay {
  private readonly sockets = new Set<Socket>();
  private isHolding = false;

  private constructor(
    readonly from: number,
    readonly to: number,
    private readonly server: Server,
  ) {}

  static async open(from: number, to: number, targetPort: number): Promise<Relay> {
    const server = createServer({ noDelay: true });
    const relay = new Relay(from, to, server);
    server.on("connection", (client: Socket) =>
      relay.join(client, connect({ port: targetPort, host: "127.0.0.1", noDelay: true })),
    );
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return relay;
  }

  get port(): number {
    const address = this.server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    return address.port;
  }

  hold(): void {
    this.isHolding = true;
    for (const socket of this.sockets) socket.pause();
  }

  release(): void {
    this.isHolding = false;
    for (const socket of this.sockets) socket.resume();
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
    await once(this.server, "close");
  }

  private join(client: Socket, target: Socket): void {
    for (const [socket, other] of [
      [client, target],
      [target, client],
    ] as const) {
      this.sockets.add(socket);
      socket.on("data", (chunk) => other.write(chunk));
      socket.on("error", () => undefined);
      socket.on("close", () => {
        this.sockets.delete(socket);
        other.destroy();
      });
      if (this.isHolding) socket.pause();
    }
  }
}
