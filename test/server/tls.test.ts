/** The one port with TLS: ALPN tells HTTP/2 from HTTP/1.1. Makes its certificate with openssl; skipped where that is missing. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { request } from "node:https";
import { once } from "node:events";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { IncomingMessage } from "node:http";
import { connect as connectTls, TLSSocket } from "node:tls";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BucketService } from "../../gen/ironflow/kv/v1/bucket_service_pb.js";
import { startTestService, type TestService } from "../support/service.js";

const hasOpenssl = spawnSync("openssl", ["version"]).status === 0;
if (!hasOpenssl) console.log("The TLS tests are skipped: there is no openssl to make a certificate with.");

describe.skipIf(!hasOpenssl)("with TLS", () => {
  const folder = mkdtempSync(join(tmpdir(), "ironflow-tls-"));
  const [cert, key] = [join(folder, "cert.pem"), join(folder, "key.pem")];
  let service: TestService;
  beforeAll(async () => {
    const subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"];
    const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    execFileSync(
      "openssl",
      ["req", "-x509", "-days", "2", ...newKey, ...subject, "-keyout", key, "-out", cert],
      { stdio: "ignore" },
    );
    service = await startTestService({ "tls-cert": cert, "tls-key": key });
  });
  afterAll(async () => {
    await service.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  it("has an https address", () => {
    expect(service.url).toMatch(/^https:\/\/127\.0\.0\.1:/);
  });

  it("speaks gRPC over HTTP/2 and Connect over HTTP/1.1", async () => {
    const ca = readFileSync(cert);
    const transports = [
      createGrpcTransport({ baseUrl: service.url, nodeOptions: { ca } }),
      createConnectTransport({ baseUrl: service.url, httpVersion: "1.1", nodeOptions: { ca } }),
      createConnectTransport({ baseUrl: service.url, httpVersion: "2", nodeOptions: { ca } }),
    ];
    for (const transport of transports) {
      expect((await createClient(BucketService, transport).listBuckets({})).buckets).toEqual([]);
    }
  });

  it("answers REST", async () => {
    const call = request(`${service.url}/api/v1/kv/buckets`, { ca: readFileSync(cert) }).end();
    const [response] = (await once(call, "response")) as [IncomingMessage];
    response.resume();
    expect(response.statusCode).toBe(200);
  });

  describe("with an RSA key", () => {
    let other: TestService;
    beforeAll(async () => {
      const [rsaCert, rsaKey] = [join(folder, "rsa.crt"), join(folder, "rsa.key")];
      execFileSync(
        "openssl",
        [
          ...["req", "-x509", "-days", "2", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1"],
          ...["-keyout", rsaKey, "-out", rsaCert],
        ],
        { stdio: "ignore" },
      );
      other = await startTestService({ "tls-cert": rsaCert, "tls-key": rsaKey });
    });
    afterAll(() => other.remove());

    /** The outcome of a TLS 1.2 handshake. */
    async function shakeHands(ciphers: string): Promise<TLSSocket | string> {
      const socket = connectTls({
        ...{ port: other.port, host: "127.0.0.1", rejectUnauthorized: false, ALPNProtocols: ["h2"] },
        ...{ maxVersion: "TLSv1.2", ciphers },
      });
      return new Promise((resolve) => {
        socket.once("error", (error: Error) => resolve(error.message));
        socket.once("secureConnect", () => resolve(socket));
      });
    }

    it.each([
      ["RSA key exchange", "AES128-GCM-SHA256"],
      ["RSA key exchange and CBC", "AES128-SHA"],
      ["CBC", "ECDHE-RSA-AES128-SHA256"],
    ])("refuses cipher suites with %s (RFC 9113 section 9.2.2)", async (_name, ciphers) => {
      expect(await shakeHands(ciphers)).toMatch(/handshake failure/);
    });

    it("refuses renegotiation", async () => {
      const socket = await shakeHands("ECDHE-RSA-AES128-GCM-SHA256");
      if (!(socket instanceof TLSSocket)) throw new Error(socket);
      const outcome = await new Promise<string>((resolve) => {
        socket.on("error", (error: Error) => resolve(error.message));
        socket.on("close", () => resolve("closed"));
        socket.renegotiate({ rejectUnauthorized: false }, (error) =>
          resolve(error?.message ?? "renegotiated"),
        );
      });
      expect(outcome).not.toBe("renegotiated");
      socket.destroy();
    });
  });

  it("closes a connection that does not speak TLS, and keeps serving", async () => {
    const socket = connect(service.port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.end("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    socket.resume();
    await new Promise((resolve) => socket.on("close", resolve));
    const call = request(`${service.url}/healthz`, { ca: readFileSync(cert) }).end();
    const [response] = (await once(call, "response")) as [IncomingMessage];
    expect(response.statusCode).toBe(200);
    response.resume();
  });
});
