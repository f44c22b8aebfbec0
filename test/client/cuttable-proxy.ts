/** A TCP proxy in front of a real service that can cut, refuse and swallow: how connections fail in earnest. */
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

export class CuttableProxy {
  private readonly pairs = new Set<{ client: Socket; upstream: Socket }>();
  private server: Server | undefined;
  /** Bytes of answers that still pass. */
  private passing = Infinity;
  private emptied: (() => void)[] = [];
  private port = 0;

  private constructor(private readonly targetPort: number) {}

  static async to(service: { readonly port: number }): Promise<CuttableProxy> {
    const proxy = new CuttableProxy(service.port);
    await proxy.accept();
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get connections(): number {
    return this.pairs.size;
  }

  /** Takes connections, on the same port as before. */
  async accept(): Promise<void> {
    this.server = createServer({ noDelay: true }, (client) => this.join(client)).listen(
      this.port,
      "127.0.0.1",
    );
    await once(this.server, "listening");
    const address = this.server.address();
    if (address !== null && typeof address === "object") this.port = address.port;
  }

  /** Cuts every connection. New ones are taken. */
  cut(): void {
    for (const { client, upstream } of this.pairs) {
      client.destroy();
      upstream.destroy();
    }
  }

  /** Cuts every connection and refuses new ones, until `accept`. */
  async refuse(): Promise<void> {
    const { server } = this;
    if (server === undefined) return;
    this.server = undefined;
    const closed = once(server, "close");
    server.close();
    this.cut();
    await closed;
  }

  /** Passes requests on, but only so many more bytes of answers, over all connections; until `passAnswers`. The rest is lost. */
  holdAnswers(afterBytes = 0): void {
    this.passing = afterBytes;
  }

  passAnswers(): void {
    this.passing = Infinity;
  }

  /** Resolves when no connection is open. */
  async untilEmpty(): Promise<void> {
    if (this.pairs.size > 0) await new Promise<void>((resolve) => this.emptied.push(resolve));
  }

  private join(client: Socket): void {
    const upstream = connect({ port: this.targetPort, host: "127.0.0.1", noDelay: true });
    const pair = { client, upstream };
    this.pairs.add(pair);
    client.pipe(upstream);
    upstream.on("data", (chunk) => {
      const part = chunk.subarray(0, this.passing);
      this.passing -= part.length;
      if (part.length > 0) client.write(part);
    });
    const end = (): void => {
      client.destroy();
      upstream.destroy();
      this.pairs.delete(pair);
      if (this.pairs.size === 0) for (const resolve of this.emptied.splice(0)) resolve();
    };
    for (const socket of [client, upstream]) socket.on("error", end).on("close", end).on("end", end);
  }
}
