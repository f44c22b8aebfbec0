/** The peak of the resident memory during attacks over TLS, without the fast path of HTTP/1.1. Skipped where there is no openssl. */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { platform, tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { END_HEADERS, Frame, frame, headerBlock, RawSession } from "../../packages/http2/test/raw-session.js";
import { hasOpenssl, makeCertificate } from "../support/certificates.js";
import { isExtendedFor } from "../support/extended.js";
import { MEBIBYTE, OVERHEAD_BYTES, PeakMeter, TOTAL_BYTES } from "./peaks.js";

const BUCKETS = "/api/v1/kv/buckets";
const CLIENTS = 150;
const isSkipped =
  platform() !== "linux" ||
  !hasOpenssl ||
  !isExtendedFor("memory peaks over TLS", "each attack takes seconds of CPU time");

describe.skipIf(isSkipped)("the peak of the resident memory over TLS", () => {
  const folder = mkdtempSync(join(tmpdir(), "ironflow-peaks-tls-"));
  let meter: PeakMeter;
  beforeAll(async () => {
    const { certFile, keyFile } = makeCertificate(folder, "peaks");
    meter = await PeakMeter.start({
      ...{ "tls-cert": certFile, "tls-key": keyFile, "fast-path": "false" },
      "total-incomplete-request-bytes-max": String(TOTAL_BYTES),
    });
  });
  afterAll(async () => {
    await meter.target.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  async function crowd(clients: number): Promise<TLSSocket[]> {
    const sockets: TLSSocket[] = [];
    for (let index = 0; index < clients; index++) {
      const socket = connect({ port: meter.port, host: "127.0.0.1", rejectUnauthorized: false });
      socket.on("error", () => undefined);
      await once(socket, "secureConnect");
      sockets.push(socket);
    }
    return sockets;
  }

  it("stays within the budget for incomplete bodies over HTTP/2", async () => {
    const head = headerBlock({
      ":method": "PUT",
      ":scheme": "https",
      ":authority": "localhost",
      ":path": `${BUCKETS}/b/keys/k`,
    });
    const attack = async (): Promise<void> => {
      const sessions: RawSession[] = [];
      for (let connection = 0; connection < 6; connection++) {
        const session = await RawSession.openTls(meter.port);
        sessions.push(session);
        for (let id = 1; id < 80 && !session.isClosed; id += 2) {
          session.write(frame(Frame.HEADERS, END_HEADERS, id, head));
          const piece = frame(Frame.DATA, 0, id, Buffer.alloc(16_000, "x"));
          for (let sent = 0; sent < 60; sent++) if (!session.write(piece)) await session.drained();
        }
        await session.roundTrip();
      }
      for (const session of sessions) session.close();
    };
    expect(await meter.of(attack, "allowed, HTTP/2 over TLS")).toBeLessThan(OVERHEAD_BYTES + TOTAL_BYTES);
  }, 240_000);

  it("stays within the budget for incomplete bodies over HTTP/1.1", async () => {
    const attack = async (): Promise<void> => {
      const sockets = await crowd(CLIENTS);
      for (const socket of sockets) {
        socket.resume();
        socket.write(
          `PUT ${BUCKETS}/b/keys/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${MEBIBYTE}\r\n\r\n`,
        );
        socket.write(Buffer.alloc(MEBIBYTE - 1, "x"));
      }
      await crowd(1);
      await crowd(1);
      for (const socket of sockets) socket.destroy();
    };
    expect(await meter.of(attack, "allowed, HTTP/1.1 over TLS")).toBeLessThan(OVERHEAD_BYTES + TOTAL_BYTES);
  }, 240_000);
});
