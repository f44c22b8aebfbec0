/** Tells connections and streams whose client does not take what waits for it: each holds an answer in memory. */
import type { Limits } from "../kv/limits.js";

const MEBIBYTE = 1_048_576;
/** What waits is looked at so often within the time limit. */
const LOOKS_PER_LIMIT = 4;
const LOOK_INTERVAL_MS_MAX = 5_000;

/** A socket or a stream. */
interface Writing {
  /** Bytes that were handed over and not sent yet. */
  readonly writableLength: number;
  /** Bytes that were sent, where that is known. */
  readonly takenBytes?: number;
}

/** Less than this within the time limit is no progress: a byte now and then would keep an answer in memory for ever. */
const PROGRESS_BYTES = 16_384;

/** To be asked about every stream again and again; one that is never written to costs nothing in between. */
export class StalledWrites {
  readonly lookIntervalMs: number;
  private readonly known = new WeakMap<
    Writing,
    { waitingBytes: number; takenBytes: number; sinceMs: number }
  >();

  constructor(private readonly limits: Pick<Limits, "answerTimeoutMs">) {
    this.lookIntervalMs = Math.min(LOOK_INTERVAL_MS_MAX, limits.answerTimeoutMs / LOOKS_PER_LIMIT);
  }

  /** Whether what waits has been the same for too long. A piece is sent or not: a larger one gets more time, for each mebibyte. */
  isStalled(stream: Writing, nowMs: number): boolean {
    const waitingBytes = stream.writableLength;
    if (waitingBytes === 0) {
      this.known.delete(stream);
      return false;
    }
    const known = this.known.get(stream);
    const { takenBytes = 0 } = stream;
    const isMoving =
      stream.takenBytes === undefined
        ? known?.waitingBytes !== waitingBytes
        : known === undefined ||
          takenBytes - known.takenBytes >= Math.min(PROGRESS_BYTES, known.waitingBytes);
    if (known === undefined || isMoving) {
      this.known.set(stream, { waitingBytes, takenBytes, sinceMs: nowMs });
      return false;
    }
    return nowMs - known.sinceMs >= this.limits.answerTimeoutMs * Math.max(1, waitingBytes / MEBIBYTE);
  }
}

/** Ends the connections of a set that are stalled, for as long as the process runs; `stop` ends that. */
export function endStalledConnections(
  sockets: ReadonlySet<Writing & { destroy(): unknown }>,
  limits: Pick<Limits, "answerTimeoutMs">,
): { stop(): void } {
  const stalled = new StalledWrites(limits);
  const timer = setInterval(() => {
    const nowMs = performance.now();
    for (const socket of sockets) if (stalled.isStalled(socket, nowMs)) socket.destroy();
  }, stalled.lookIntervalMs);
  timer.unref();
  return { stop: () => clearInterval(timer) };
}
