/** Finds connections and streams whose client does not read its responses: each holds a response in memory. */
import type { Http2Limits } from "./limits.js";

const MEBIBYTE = 1_048_576;
const CHECKS_PER_TIMEOUT = 4;
const CHECK_INTERVAL_MS_MAX = 5_000;
/** Fewer bytes than this within the timeout count as no progress: a byte now and then would hold a response in memory forever. */
const PROGRESS_BYTES = 16_384;

/** A socket or a stream. */
interface Writer {
  /** Bytes written and not sent yet. */
  readonly writableLength: number;
  /** Bytes sent so far. Sockets do not tell: any change of `writableLength` counts as progress. */
  readonly sentBytes?: number;
}

interface Observation {
  readonly waitingBytes: number;
  readonly sentBytes: number;
  readonly sinceMs: number;
}

type StallLimits = Pick<Http2Limits, "answerTimeoutMs">;

/** Call `isStalled` on a timer for each writer. Writers with nothing to send cost nothing in between. */
export class StallDetector {
  readonly checkIntervalMs: number;
  private readonly observations = new WeakMap<Writer, Observation>();

  constructor(private readonly limits: StallLimits) {
    this.checkIntervalMs = Math.min(CHECK_INTERVAL_MS_MAX, limits.answerTimeoutMs / CHECKS_PER_TIMEOUT);
  }

  /** Whether the writer made no progress for the timeout. The timeout grows with each mebibyte that waits, as a socket sends it whole. */
  isStalled(writer: Writer, nowMs: number): boolean {
    const waitingBytes = writer.writableLength;
    if (waitingBytes === 0) {
      this.observations.delete(writer);
      return false;
    }
    const last = this.observations.get(writer);
    if (last === undefined || hasProgress(last, writer)) {
      this.observations.set(writer, { waitingBytes, sentBytes: writer.sentBytes ?? 0, sinceMs: nowMs });
      return false;
    }
    return nowMs - last.sinceMs >= this.limits.answerTimeoutMs * Math.max(1, waitingBytes / MEBIBYTE);
  }
}

function hasProgress(last: Observation, { writableLength, sentBytes }: Writer): boolean {
  if (sentBytes === undefined) return last.waitingBytes !== writableLength;
  return sentBytes - last.sentBytes >= Math.min(PROGRESS_BYTES, last.waitingBytes);
}

/** Destroys the stalled sockets of a set. Runs until `stop`. */
export function destroyStalledSockets(
  sockets: ReadonlySet<Writer & { destroy(): unknown }>,
  limits: StallLimits,
): { stop(): void } {
  const detector = new StallDetector(limits);
  const timer = setInterval(() => {
    const nowMs = performance.now();
    for (const socket of sockets) if (detector.isStalled(socket, nowMs)) socket.destroy();
  }, detector.checkIntervalMs);
  timer.unref();
  return { stop: () => clearInterval(timer) };
}
