/** An HTTP/2 server for tests. Its handler is the test's, or echoes the body and the headers of a request. */
import { createServer } from "node:net";
import { once } from "node:events";
import type { AddressInfo, Socket } from "node:net";
import { type Http2Budgets, Http2Server } from "../src/server.js";
import type { RequestStream } from "../src/stream.js";
import { DEFAULT_HTTP2_LIMITS, type Http2Limits } from "../src/limits.js";

export interface EchoServer {
  readonly url: string;
  readonly port: number;
  /** Exceptions that handlers and listeners threw. */
  readonly faults: readonly unknown[];
  closeGracefully(): void;
  stop(): Promise<void>;
}

export async function startEcho(
  answer: (stream: RequestStream) => void = echo,
  limits: Partial<Http2Limits> = {},
  budgets?: Http2Budgets,
): Promise<EchoServer> {
  const faults: unknown[] = [];
  const http2 = new Http2Server({
    limits: { ...DEFAULT_HTTP2_LIMITS, ...limits },
    budgets,
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
    closeGracefully: () => http2.closeGracefully(),
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

/** Sends each piece of the body back as it arrives, and each `x-` header with the prefix `echo-`. */
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
