/**
 * Closing a connection that the server closes at the same time. The library writes to a socket that it has ended, and removes the socket's
 * listeners before the socket emits the error. An uncaught exception fails the run.
 */
import { type EventEmitter, errorMonitor, once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect as dial, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as stockConnect, type NatsConnection, NatsConnectionImpl } from "@nats-io/transport-node";
import { NodeTransport } from "@nats-io/transport-node/lib/node_transport.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectNats } from "../../src/nats/client/connect.js";
import { hasOpenssl, makeCertificate } from "../support/certificates.js";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { linkOf } from "./store-support.js";

interface Relay {
  readonly address: string;
  /** Ends the relay's side of every connection of a client. The client can still send. */
  endClients(): void;
  /** Cuts every connection. */
  cut(): void;
  close(): void;
}

/** Relays TCP connections to a port. */
async function startRelay(port: number): Promise<Relay> {
  const clients = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const upstream = dial(port, "127.0.0.1");
    clients.add(client);
    for (const socket of [client, upstream]) socket.on("error", () => undefined);
    client.on("data", (data) => upstream.write(data));
    client.on("close", () => {
      clients.delete(client);
      upstream.destroy();
    });
    upstream.on("data", (data) => {
      if (client.writable) client.write(data);
    });
    upstream.on("close", () => client.destroy());
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the relay has no port");
  const cut = (): void => {
    for (const client of clients) client.destroy();
  };
  return {
    address: `127.0.0.1:${address.port}`,
    endClients: () => {
      for (const client of clients) client.end();
    },
    cut,
    close: () => {
      server.close();
      cut();
    },
  };
}

/** The socket of a connection. */
function socketOf(connection: NatsConnection): Socket {
  if (!(connection instanceof NatsConnectionImpl)) throw new Error("not a connection of the library");
  const { transport } = connection.protocol;
  if (!(transport instanceof NodeTransport)) throw new Error("not a TCP connection");
  return transport.socket;
}

/** Writes and closes in one turn, after the server has ended its side and the client its own. Resolves with the socket's error. */
async function closeWhileServerCloses(connection: NatsConnection, relay: Relay): Promise<unknown> {
  linkOf(connection);
  const subscription = connection.subscribe("x", { callback: () => undefined });
  await connection.flush();
  const socket = socketOf(connection);
  const errors: EventEmitter = socket;
  const failed = new Promise((resolve) => {
    // The transport ends its side in a tick after this event: before the next microtask.
    socket.once("end", () => {
      queueMicrotask(() => {
        subscription.unsubscribe();
        void connection.close();
        // After the transport has removed all listeners.
        afterMicrotasks(() => errors.once(errorMonitor, resolve));
      });
    });
  });
  relay.endClients();
  return failed;
}

/** Runs after the microtasks that `close` needs, and before the next tick. */
function afterMicrotasks(action: () => void, microtasks = 50): void {
  if (microtasks === 0) action();
  else queueMicrotask(() => afterMicrotasks(action, microtasks - 1));
}

let scratch: string;
const servers: TestNatsServer[] = [];
const relays: Relay[] = [];

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "ironflow-transport-"));
});
afterAll(async () => {
  for (const relay of relays) relay.close();
  await Promise.all(servers.map((server) => server.remove()));
  await rm(scratch, { recursive: true, force: true });
});

async function relayed(config = ""): Promise<Relay> {
  const server = await startNatsServer({ config });
  servers.push(server);
  const relay = await startRelay(server.port);
  relays.push(relay);
  return relay;
}

const WRITE_AFTER_END = { code: "ERR_STREAM_WRITE_AFTER_END" };

describe("closing a connection while the server closes it ends no process", () => {
  it("after the first connect", async () => {
    const relay = await relayed();
    const { connection } = await connectNats({ servers: relay.address });
    expect(await closeWhileServerCloses(connection, relay)).toMatchObject(WRITE_AFTER_END);
  });

  it("after a reconnect, and another connection that the library made itself", async () => {
    const relay = await relayed();
    const { connection } = await connectNats({ servers: relay.address });
    await (await stockConnect({ servers: relay.address })).close();
    const reconnected = (async () => {
      for await (const { type } of connection.status()) if (type === "reconnect") return;
    })();
    relay.cut();
    await reconnected;
    expect(await closeWhileServerCloses(connection, relay)).toMatchObject(WRITE_AFTER_END);
  });

  it.runIf(hasOpenssl)(
    "over TLS",
    async () => {
      const { certFile, keyFile, cert } = makeCertificate(scratch, "server");
      const relay = await relayed(`tls { cert_file: "${certFile}", key_file: "${keyFile}" }`);
      const { connection } = await connectNats({ servers: relay.address, tls: { ca: cert } });
      expect(await closeWhileServerCloses(connection, relay)).toMatchObject(WRITE_AFTER_END);
    },
    20_000,
  );
});

describe("a message that arrives in several reads", () => {
  it.each([70_000, 300_000, 1_000_000])(
    "of %d bytes is collected in a buffer of its size",
    async (length) => {
      const relay = await relayed();
      const { connection } = await connectNats({ servers: relay.address });
      const value = Buffer.from(Array.from({ length }, (_, index) => (index * 7_919) % 256));
      const received = new Promise<Uint8Array>((resolve) => {
        connection.subscribe("large", { max: 1, callback: (_, message) => resolve(message.data) });
      });
      connection.publish("large", value);
      const data = await received;
      await connection.close();
      expect(value.equals(data)).toBe(true);
      // One read more, and as much again: what the library's buffer adds when it grows.
      expect(data.buffer.byteLength).toBeLessThanOrEqual(length + 2 * 65_536 + 1_024);
    },
  );
});
