/**
 * A balancer of TCP connections, as a service of Kubernetes is one: a new connection goes to a copy whose /readyz says yes, in turn; an open
 * one stays where it is until either side ends it.
 */
import { once } from "node:events";
import { request } from "node:http";
import { connect, createServer, type Server, type Socket } from "node:net";

/** How often each copy is asked whether it is ready. */
const PROBE_INTERVAL_MS = 50;

export class Balancer {
  private readonly ready = new Set<number>();
  private readonly sockets = new Set<Socket>();
  private readonly probes = new Map<number, NodeJS.Timeout>();
  private turn = 0;

  private constructor(private readonly server: Server) {
    server.on("connection", (client: Socket) => void this.serve(client));
  }

  static async start(): Promise<Balancer> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true });
    const balancer = new Balancer(server);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return balancer;
  }

  get url(): string {
    const address = this.server.address();
    if (address === null || typeof address === "string") throw new Error("the balancer has no port");
    return `http://127.0.0.1:${address.port}`;
  }

  /** From now on the copy at this port gets connections whenever it is ready; resolves when it is for the first time. */
  async add(port: number): Promise<void> {
    const probe = async (): Promise<void> => {
      if (await isReady(port)) this.ready.add(port);
      else this.ready.delete(port);
    };
    while (!this.ready.has(port)) await probe();
    this.probes.set(
      port,
      setInterval(() => void probe(), PROBE_INTERVAL_MS),
    );
  }

  /** The copy at this port is gone for good. */
  remove(port: number): void {
    clearInterval(this.probes.get(port));
    this.probes.delete(port);
    this.ready.delete(port);
  }

  stop(): void {
    for (const port of [...this.probes.keys()]) this.remove(port);
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }

  private async serve(client: Socket): Promise<void> {
    this.track(client);
    const candidates = [...this.ready];
    this.turn++;
    for (let index = 0; index < candidates.length; index++) {
      const port = candidates[(this.turn + index) % candidates.length] ?? 0;
      const copy = connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
      this.track(copy);
      const isConnected = await once(copy, "connect").then(
        () => true,
        () => false,
      );
      if (!isConnected) continue;
      join(client, copy);
      return;
    }
    client.resetAndDestroy();
  }

  private track(socket: Socket): void {
    this.sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => this.sockets.delete(socket));
  }
}

/** Each side's end, and each side's reset, reach the other as they came. */
function join(client: Socket, copy: Socket): void {
  client.pipe(copy);
  copy.pipe(client);
  client.on("error", () => copy.resetAndDestroy());
  copy.on("error", () => client.resetAndDestroy());
  client.on("close", () => copy.destroySoon());
  copy.on("close", () => client.destroySoon());
}

async function isReady(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = request({ port, host: "127.0.0.1", path: "/readyz", agent: false }, (answer) => {
      answer.resume();
      answer.on("end", () => resolve(answer.statusCode === 200));
      answer.on("error", () => resolve(false));
    });
    probe.on("error", () => resolve(false));
    probe.end();
  });
}
