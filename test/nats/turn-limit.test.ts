/** What one turn of the event loop reads from a connection to NATS. */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { afterAll, expect, it } from "vitest";
import { connectNats } from "../../src/nats/client/connect.js";
import { limitTurn } from "../../src/nats/client/turn-limit.js";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.js";

/** What Node reads from a socket at once. */
const READ_BYTES = 65_536;
const LIMIT_BYTES = 100_000;

const servers: TestNatsServer[] = [];
afterAll(() => Promise.all(servers.map((server) => server.remove())));

/** A client's socket that has as many bytes to read as the system keeps for it, and how many that are. */
async function fullSocket(): Promise<{ readonly socket: Socket; readonly sentBytes: number }> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  const socket = connect({ port: address.port, host: "127.0.0.1" }).pause();
  const [peer] = (await once(server, "connection")) as [Socket];
  server.close();
  let sentBytes = 0;
  do {
    peer.write(Buffer.alloc(READ_BYTES));
    sentBytes += READ_BYTES;
    await new Promise(setImmediate);
  } while (peer.writableLength === 0);
  peer.end();
  return { socket, sentBytes };
}

/** Reads to the end. Returns the most bytes of a turn, and all of them. */
async function readAll(socket: Socket): Promise<{ readonly turnMax: number; readonly bytes: number }> {
  let [bytes, turnBytes, turnMax, isOver] = [0, 0, 0, false];
  socket.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    turnBytes += chunk.length;
    turnMax = Math.max(turnMax, turnBytes);
  });
  socket.on("close", () => (isOver = true));
  const nextTurn = (): void => {
    turnBytes = 0;
    if (!isOver) setImmediate(nextTurn);
  };
  nextTurn();
  socket.resume();
  await once(socket, "close");
  return { turnMax, bytes };
}

it("a turn reads no more than the limit and one read, however much waits", async () => {
  const { socket, sentBytes } = await fullSocket();
  expect(sentBytes).toBeGreaterThan(4 * LIMIT_BYTES);
  limitTurn(socket, LIMIT_BYTES);
  const { turnMax, bytes } = await readAll(socket);
  expect(bytes).toBe(sentBytes);
  expect(turnMax).toBeLessThan(LIMIT_BYTES + 2 * READ_BYTES);
});

it("a connection with a limit reads everything, also after it was paused", async () => {
  const server = await startNatsServer();
  servers.push(server);
  const { connection } = await connectNats({
    servers: `127.0.0.1:${server.port}`,
    turnBytesMax: 1_000,
  });
  const sizes: number[] = [];
  const sent = Array.from({ length: 200 }, (_, index) => 10 + ((index * 7_919) % 20_000));
  const received = new Promise<void>((resolve) => {
    connection.subscribe("sizes", {
      max: sent.length,
      callback: (_, { data }) => {
        sizes.push(data.length);
        if (sizes.length === sent.length) resolve();
      },
    });
  });
  for (const size of sent) connection.publish("sizes", Buffer.alloc(size));
  await received;
  await connection.close();
  expect(sizes).toEqual(sent);
});
