/** A relay to a real nats-server that says it is of another version: what an old one, which is not installed, says of itself. */
import { once } from "node:events";
import { connect, createServer } from "node:net";

export interface VersionRelay {
  readonly url: string;
  /** Says that it is of this version from now on, and closes all connections, as a server does that is replaced. */
  become(version: string): void;
  stop(): Promise<void>;
}

/** Changes the version in the server's INFO lines, which it sends at the start of a connection and after CONNECT. */
export async function relayAs(firstVersion: string, port: number): Promise<VersionRelay> {
  let version = firstVersion;
  const sockets = new Set<{ destroy(): void }>();
  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ port, host: "127.0.0.1", noDelay: true });
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        client.destroy();
        upstream.destroy();
      });
    }
    client.pipe(upstream);
    upstream.on("data", (chunk: Buffer) => {
      const text = chunk.toString("latin1");
      const isInfo = /(^|\r\n)INFO \{/.test(text);
      client.write(isInfo ? text.replace(/"version":"[^"]*"/g, `"version":"${version}"`) : text, "latin1");
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    url: `nats://127.0.0.1:${address.port}`,
    become: (next) => {
      version = next;
      for (const socket of sockets) socket.destroy();
    },
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
