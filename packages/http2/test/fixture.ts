/** Servers and connections that end with their test. */
import { test as base } from "vitest";
import type { Http2Limits } from "../src/limits.js";
import type { Http2Budgets } from "../src/server.js";
import type { RequestStream } from "../src/stream.js";
import { type EchoServer, startEcho } from "./echo.js";
import { RawSession } from "./raw-session.js";

export interface Peers {
  start(
    answer?: (stream: RequestStream) => void,
    limits?: Partial<Http2Limits>,
    budgets?: Http2Budgets,
  ): Promise<EchoServer>;
  connect(server: EchoServer, settings?: Uint8Array): Promise<RawSession>;
}

export const test = base.extend<{ peers: Peers }>({
  // eslint-disable-next-line no-empty-pattern -- Vitest reads the names of the fixtures that this one needs.
  peers: async ({}, use) => {
    const cleanUp: (() => unknown)[] = [];
    await use({
      async start(answer, limits, budgets) {
        const server = await startEcho(answer, limits, budgets);
        cleanUp.push(() => server.stop());
        return server;
      },
      async connect(server, settings) {
        const session = await RawSession.open(server.port, settings);
        cleanUp.push(() => session.close());
        return session;
      },
    });
    for (const step of cleanUp.reverse()) await step();
  },
});

/** Reads the body and responds with this many bytes. */
export const respondWith =
  (bytes: number) =>
  (stream: RequestStream): void => {
    const received = (): void => {
      stream.respond(200, {}, false);
      stream.end(Buffer.alloc(bytes, "x"));
    };
    stream.listener = { receive: () => undefined, received, abandon: () => undefined };
    if (stream.isRequestComplete) received();
  };

/** Never responds. */
export const ignore = (stream: RequestStream): void => {
  stream.listener = { receive: () => undefined, received: () => undefined, abandon: () => undefined };
};
