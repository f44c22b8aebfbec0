/** Clients that are gone before their watch is in place, or while it waits behind another answer: nothing may be held for them. */
import { connect } from "node:net";
import { describe, expect } from "vitest";
import { serviceTest } from "../support/fixtures.js";
import { send1 } from "../support/http-client.js";
import { refusedUpgrade, WatchClient } from "../support/watch-client.js";

const WATCH = "/api/v1/kv/buckets/b/watch";
const WATCHES_MAX = 3;

const it = serviceTest({ "watches-max": String(WATCHES_MAX) })
  /** How many watches can be opened. */
  .extend("freeWatches", ({ service }) => async (): Promise<number> => {
    const clients: WatchClient[] = [];
    try {
      while (clients.length <= WATCHES_MAX) {
        try {
          clients.push(await WatchClient.open(service.url, WATCH));
        } catch {
          expect((await refusedUpgrade(service.url, WATCH))[0]).toBe(429);
          break;
        }
      }
      return clients.length;
    } finally {
      for (const client of clients) client.socket.close();
      await Promise.all(clients.map((client) => client.untilClosed()));
    }
  });
it.beforeAll(async ({ service }) => {
  await send1(service.url, "POST", "/api/v1/kv/buckets", { body: '{"name":"b"}' });
});

const sse = `GET ${WATCH} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n`;
const upgrade =
  `GET ${WATCH} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
const message = '{"bucket":"b"}';
const envelope = `\0\0\0\0${String.fromCharCode(message.length)}${message}`;
const connectWatch =
  "POST /ironflow.kv.v1.KeyValueService/Watch HTTP/1.1\r\nHost: x\r\nContent-Type: application/connect+json\r\n" +
  `Content-Length: ${envelope.length}\r\n\r\n${envelope}`;

describe("a watch whose client is gone leaves room for others", () => {
  it.for([
    ["a WebSocket that is closed in the middle of its handshake", upgrade],
    ["SSE", sse],
    ["a stream of Connect", connectWatch],
    ["SSE behind SSE", sse + sse + sse],
    ["a stream of Connect behind SSE", sse + connectWatch + connectWatch],
    ["SSE behind a stream of Connect", connectWatch + sse + sse],
    ["a WebSocket behind SSE", sse + upgrade],
  ] as const)("%s", async ([, requests], { service, freeWatches }) => {
    for (const leave of ["end", "destroy", "resetAndDestroy"] as const) {
      for (let round = 0; round < WATCHES_MAX + 1; round++) {
        const socket = connect(service.port, "127.0.0.1");
        socket.on("error", () => undefined);
        socket.write(Buffer.from(requests, "latin1"));
        // At once, or when the first answer has begun.
        await new Promise((resolve) => {
          socket.once(round % 2 === 0 ? "connect" : "data", resolve);
          socket.once("close", resolve);
        });
        socket[leave]();
        if (leave === "end") {
          await new Promise((resolve) => setTimeout(resolve, 5));
          socket.destroy();
        }
      }
    }
    await expect.poll(freeWatches).toBe(WATCHES_MAX);
  });
});
