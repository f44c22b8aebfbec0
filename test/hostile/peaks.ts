/** Measures the peak of the resident memory of a service during attacks, in a process of its own. Linux only. */
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { get as httpsGet } from "node:https";
import { expect } from "vitest";
import { send1 } from "../support/http-client.js";
import { startTarget, type Target } from "./target.js";

export const MEBIBYTE = 1_048_576;
/** What the process may need beyond the bytes that its limits allow: V8's heap, garbage that is not collected yet, the sockets' buffers. */
export const OVERHEAD_BYTES = 160 * MEBIBYTE;
/** A budget of all connections, far below what the attacks send. */
export const TOTAL_BYTES = 64 * MEBIBYTE;

export class PeakMeter {
  private constructor(
    readonly target: Target,
    /** Of the service before the first attack. */
    private readonly freshBytes: number,
    private readonly freshLiveBytes: number,
  ) {}

  static async start(flags: Readonly<Record<string, string>>): Promise<PeakMeter> {
    const target = await startTarget(flags);
    return new PeakMeter(target, await target.resetPeak(), await liveBytesOf(target));
  }

  /** What the service holds now beyond what the fresh service did, without garbage. */
  async liveBytes(): Promise<number> {
    return (await liveBytesOf(this.target)) - this.freshLiveBytes;
  }

  get url(): string {
    return this.target.url;
  }

  get port(): number {
    return this.target.port;
  }

  /** The bytes by which the peak during the attack exceeds what the fresh service took: memory that earlier attacks left counts too. */
  async of(attack: () => Promise<unknown>, name: string): Promise<number> {
    const { target, freshBytes } = this;
    const before = await target.resetPeak();
    await attack();
    const peak = (await target.peakBytes()) - freshBytes;
    expect(await isHealthy(target.url)).toBe(true);
    expect(target.errors).toEqual([]);
    const mebibytes = (bytes: number): number => Math.round(bytes / MEBIBYTE);
    console.log(
      `peak | ${name} | ${mebibytes(peak)} MiB above ${mebibytes(freshBytes)}, at first ${mebibytes(before)}`,
    );
    return peak;
  }
}

async function liveBytesOf(target: Target): Promise<number> {
  const { heapUsed, external } = await target.memory();
  return heapUsed + external;
}

/** Asks on a new connection, whatever the certificate. */
async function isHealthy(url: string): Promise<boolean> {
  if (url.startsWith("http:")) return (await send1(url, "GET", "/healthz")).status === 200;
  const request = httpsGet(`${url}/healthz`, { rejectUnauthorized: false, agent: false });
  const [response] = (await once(request, "response")) as [IncomingMessage];
  response.resume();
  return response.statusCode === 200;
}
