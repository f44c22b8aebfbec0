/** Measures the peak of the resident memory of a service during attacks, in a process of its own. Linux only. */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type IncomingMessage, request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { connect as connectSocket, type Socket } from "node:net";
import { platform, tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { connect as connectTls } from "node:tls";
import { describe, expect } from "vitest";
import { headerBlock, RawSession } from "../../packages/http2/test/raw-session.js";
import { makeCertificate } from "../support/certificates.js";
import { startTarget, type Target } from "./target.js";

export const MEBIBYTE = 1_048_576;
/** What the process may need beyond the bytes that its limits allow: V8's heap, garbage that is not collected yet, the sockets' buffers. */
export const OVERHEAD_BYTES = 160 * MEBIBYTE;
/** A budget of all connections, far below what the attacks send. */
export const TOTAL_BYTES = 64 * MEBIBYTE;
/** For a test that hangs. */
export const PEAK_TIMEOUT_MS = 240_000;

export const BUCKETS = "/api/v1/kv/buckets";
export const KEY_VALUE_SERVICE = "/ironflow.kv.v1.KeyValueService";

/** A suite of tests of peaks: skipped where the kernel does not measure them. */
export function describePeaks(name: string, suite: () => void, isWanted = true): void {
  describe.skipIf(platform() !== "linux" || !isWanted)(name, suite);
}

/** The header block of a request over HTTP/2. */
export function requestHead(
  method: string,
  path: string,
  fields: Readonly<Record<string, string>> = {},
): Buffer {
  return headerBlock({
    ":method": method,
    ":scheme": "http",
    ":authority": "localhost",
    ":path": path,
    ...fields,
  });
}

export class PeakMeter {
  private constructor(
    private readonly target: Target,
    /** Of the certificate; undefined: cleartext. */
    private readonly folder: string | undefined,
    /** Of the service before the first attack. */
    private readonly freshBytes: number,
    private readonly freshLiveBytes: number,
  ) {}

  /** Starts the service with these flags. */
  static async start(flags: Readonly<Record<string, string>> = {}): Promise<PeakMeter> {
    const target = await startTarget(flags);
    return new PeakMeter(target, undefined, await target.resetPeak(), await liveBytesOf(target));
  }

  /** The same over TLS. Needs openssl. */
  static async startTls(flags: Readonly<Record<string, string>>): Promise<PeakMeter> {
    const folder = mkdtempSync(join(tmpdir(), "ironflow-peaks-"));
    const { certFile, keyFile } = makeCertificate(folder, "peaks");
    const target = await startTarget({ ...flags, "tls-cert": certFile, "tls-key": keyFile });
    return new PeakMeter(target, folder, await target.resetPeak(), await liveBytesOf(target));
  }

  async remove(): Promise<void> {
    await this.target.remove();
    if (this.folder !== undefined) rmSync(this.folder, { recursive: true, force: true });
  }

  /** What the service holds now beyond what the fresh service did, without garbage. */
  async liveBytes(): Promise<number> {
    return (await liveBytesOf(this.target)) - this.freshLiveBytes;
  }

  /** The bytes by which the peak during the attack exceeds what the fresh service took: memory that earlier attacks left counts too. */
  async of(attack: () => Promise<unknown>, name: string): Promise<number> {
    const { target, freshBytes } = this;
    const before = await target.resetPeak();
    await attack();
    const peak = (await target.peakBytes()) - freshBytes;
    await this.roundTrip();
    expect(target.errors).toEqual([]);
    const mebibytes = (bytes: number): number => Math.round(bytes / MEBIBYTE);
    console.log(
      `peak | ${name} | ${mebibytes(peak)} MiB above ${mebibytes(freshBytes)}, at first ${mebibytes(before)}`,
    );
    return peak;
  }

  /** Sends a request on a connection of its own, whatever the certificate. Returns the body of its response, which must be a success. */
  async send(method: string, path: string, body?: string | Uint8Array): Promise<string> {
    const { url } = this.target;
    const options = { method, agent: false };
    const request =
      this.folder === undefined
        ? httpRequest(`${url}${path}`, options)
        : httpsRequest(`${url}${path}`, { ...options, rejectUnauthorized: false });
    request.end(body);
    const [response] = (await once(request, "response")) as [IncomingMessage];
    expect(response.statusCode).toBeLessThan(300);
    return text(response);
  }

  /** The service reads from every connection that has data before it accepts this one. */
  async roundTrip(): Promise<void> {
    await this.send("GET", "/healthz");
  }

  async createBucket(name: string, history = 1): Promise<void> {
    await this.send("POST", BUCKETS, JSON.stringify({ name, history }));
  }

  async put(bucket: string, key: string, value: string | Uint8Array): Promise<void> {
    await this.send("PUT", `${BUCKETS}/${bucket}/keys/${key}`, value);
  }

  /** Puts so many keys, 20 at a time. */
  async putAll(
    bucket: string,
    count: number,
    entry: (index: number) => readonly [key: string, value: string | Uint8Array],
  ): Promise<void> {
    for (let start = 0; start < count; start += 20) {
      const indexes = Array.from({ length: Math.min(20, count - start) }, (_, at) => start + at);
      await Promise.all(indexes.map((index) => this.put(bucket, ...entry(index))));
    }
  }

  /** Opens a connection of HTTP/2 with these settings. */
  openHttp2(settings?: Uint8Array): Promise<RawSession> {
    const { port } = this.target;
    return this.folder === undefined ? RawSession.open(port, settings) : RawSession.openTls(port, settings);
  }

  /** Opens a connection for HTTP/1.1. It reads nothing. */
  async openHttp1(): Promise<Socket> {
    const { port } = this.target;
    const host = "127.0.0.1";
    const isTls = this.folder !== undefined;
    const socket = isTls ? connectTls({ port, host, rejectUnauthorized: false }) : connectSocket(port, host);
    socket.on("error", () => undefined);
    await once(socket, isTls ? "secureConnect" : "connect");
    return socket;
  }

  /** Resolves when the service does no more: the sum of a gauge stays the same. */
  async stopped(gauge: string): Promise<void> {
    const samples = new RegExp(`^${gauge}(?:\\{.*\\})? (\\d+)$`, "gm");
    for (let last = -1; ;) {
      const text = await this.send("GET", "/metrics");
      const sum = [...text.matchAll(samples)].reduce((total, [, value]) => total + Number(value), 0);
      if (sum === last) return;
      last = sum;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** Resolves when everything was sent, or the service does not read on. */
  async settled(sockets: readonly Socket[]): Promise<void> {
    for (let last = -1; ;) {
      const waiting = sockets.reduce(
        (sum, { writableLength, destroyed }) => sum + (destroyed ? 0 : writableLength),
        0,
      );
      if (waiting === 0 || waiting === last) return;
      last = waiting;
      await this.roundTrip();
    }
  }
}

async function liveBytesOf(target: Target): Promise<number> {
  const { heapUsed, external } = await target.memory();
  return heapUsed + external;
}
