/** A server of HTTP/2 for tests: it answers a request as the test says, or with the request's body and headers. */
import { createServer } from "node:net";
import { once } from "node:events";
import type { AddressInfo, Socket } from "node:net";
import { Http2Server } from "../src/server.js";
import type { RequestStream } from "../src/stream.js";
import { DEFAULT_HTTP2_LIMITS, type Http2Limits } from "../src/limits.js";

export interface EchoServer {
  readonly url: string;
  readonly port: number;
  /** What listeners of streams threw. */
  readonly faults: readonly unknown[];
  /** Asks the clients to leave. */
  leave(): void;
  stop(): Promise<void>;
}

export async function startEcho(
  answer: (stream: RequestStream) => void = echo,
  limits: Partial<Http2Limits> = {},
): Promise<EchoServer> {
  const faults: unknown[] = [];
  const http2 = new Http2Server({
    limits: { ...DEFAULT_HTTP2_LIMITS, ...limits },
    onStream: answer,
    onFault: (fault) => void faults.push(fault),
  });
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    http2.accept(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    faults,
    leave: () => http2.closeGracefully(),
    port,
    url: `http://127.0.0.1:${port}`,
    async stop() {
      http2.stop();
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

/** Sends each piece back as soon as it comes; the request's own headers come back with `echo-` before their names. */
export function echo(stream: RequestStream): void {
  const fields: Record<string, string> = {};
  for (const [name, value] of Object.entries(stream.headers)) {
    if (name.startsWith("x-")) fields[`echo-${name}`] = String(value);
  }
  stream.respond(200, fields, false);
  stream.listener = {
    receive: (chunk) => stream.write(chunk),
    received: () => stream.end(undefined, { "echo-end": "1" }),
    abandon: () => undefined,
  };
  if (stream.isRequestComplete) stream.listener.received();
}
