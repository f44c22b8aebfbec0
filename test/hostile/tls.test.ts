/** A port that speaks TLS, and clients that do not, or stop half way. Skipped where there is no openssl. */
import { mkdtempSync, rmSync } from "node:fs";
import { once } from "node:events";
import { request } from "node:https";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import type { IncomingMessage } from "node:http";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hasOpenssl, makeCertificate } from "../support/certificates.js";
import { startTestService, type TestService } from "../support/service.js";
import { Random } from "../../packages/http2/test/fuzz/random.js";

describe.skipIf(!hasOpenssl)("a port with TLS", () => {
  const folder = mkdtempSync(join(tmpdir(), "ironflow-hostile-tls-"));
  let service: TestService;
  let hello: Buffer;
  beforeAll(async () => {
    const { certFile, keyFile } = makeCertificate(folder, "hostile");
    service = await startTestService({
      "tls-cert": certFile,
      "tls-key": keyFile,
      "peek-timeout-ms": "500",
      "headers-timeout-ms": "500",
    });
    hello = await recordHello();
  });
  afterAll(async () => {
    await service.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  /** The first bytes of a real handshake. */
  async function recordHello(): Promise<Buffer> {
    const listener = createServer().listen(0, "127.0.0.1");
    await once(listener, "listening");
    const client = connectTls({ port: (listener.address() as AddressInfo).port, host: "127.0.0.1" });
    client.on("error", () => undefined);
    const [socket] = (await once(listener, "connection")) as [Socket];
    const [bytes] = (await once(socket, "data")) as [Buffer];
    client.destroy();
    socket.destroy();
    listener.close();
    return bytes;
  }

  async function expectAlive(): Promise<void> {
    const call = request(`${service.url}/healthz`, { rejectUnauthorized: false, agent: false }).end();
    const [response] = (await once(call, "response")) as [IncomingMessage];
    response.resume();
    expect(response.statusCode).toBe(200);
  }

  it("answers while 200 handshakes stop half way, and ends them", async () => {
    const crowd = Array.from({ length: 200 }, (_, index) => {
      const socket = open(service.port);
      socket.write(hello.subarray(0, 1 + index));
      return socket;
    });
    await expectAlive();
    await Promise.all(crowd.map(closed));
  });

  it("survives handshakes that are changed at random", async () => {
    const random = new Random(5);
    for (let round = 0; round < 50; round++) {
      const changed = Buffer.from(hello);
      for (let left = 1 + random.below(5); left > 0; left--)
        changed[random.below(changed.length)] = random.below(256);
      const socket = open(service.port);
      socket.end(changed);
      await closed(socket);
    }
    await expectAlive();
  });

  it("ends a connection that shook hands and then says nothing", async () => {
    for (const ALPNProtocols of [["h2"], ["http/1.1"], undefined]) {
      const socket = connectTls({
        port: service.port,
        rejectUnauthorized: false,
        ...(ALPNProtocols === undefined ? {} : { ALPNProtocols }),
      });
      socket.on("error", () => undefined);
      socket.resume();
      await new Promise((resolve) => socket.once("close", resolve));
    }
    await expectAlive();
  });
});

function open(port: number): Socket {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => undefined);
  socket.resume();
  return socket;
}

async function closed(socket: Socket): Promise<void> {
  if (!socket.closed) await new Promise((resolve) => socket.once("close", resolve));
}
