/**
 * Shares the event loop between short calls and bulk work, such as reading and encoding histories, snapshots, lists and large values.
 *
 * Bulk work is done in pieces. One turn of the event loop does a bounded number of bytes, or one larger piece, and the callers take turns. While
 * short calls come in, the next turn waits until the event loop was idle for three quarters of the time since the last one: their responses
 * wait for one turn at most, and few of them wait at all.
 */
import { performance } from "node:perf_hooks";
import { FairQueue } from "./fair-queue.js";

/** Bytes of bulk work in one turn while short calls come in: about a millisecond of work. */
const TURN_BYTES_MAX = 262_144;
/** A response with fewer bytes of values is short work: it takes no turn of the event loop. */
export const SHORT_BYTES_MAX = 16_384;
/** Handling a key is as much work as encoding these bytes. */
export const KEY_WORK_BYTES = 128;
/** How many times more that is while there are none. */
const UNSHARED_FACTOR = 8;
/** How long short calls are expected to go on after the last one. */
const SHORT_CALLS_MS = 100;
/** The part of the time that the loop is idle, or does short calls only. */
const IDLE_SHARE = 0.75;
/** The longest rest for each 256 KiB of a turn: bulk work goes on, at 60 MiB a second, however busy the loop is. */
const REST_MS_MAX = 4;
const REST_CHECK_MS = 1;

interface Piece {
  readonly bytes: number;
  /** Never throws. */
  readonly work: () => void;
}

/** Measures the event loop since `start`. Tests replace it. */
export interface LoopMeter {
  start(): void;
  /** Milliseconds since `start` in which the loop worked, and in which it waited. */
  elapsed(): { readonly activeMs: number; readonly idleMs: number };
}

export class BulkScheduler {
  /** The most bytes of one turn since the start. */
  turnBytesPeak = 0;
  private readonly waiting = new FairQueue<Piece>();
  private turnBytes = 0;
  private lastTurnBytes = 0;
  private isResting = false;
  private isShared = false;
  private shortCalls = 0;
  private shortCallsBefore = 0;
  private shortCallsUntilMs = 0;
  private readonly endTurn = (): void => {
    this.lastTurnBytes = this.turnBytes;
    this.turnBytes = 0;
    this.rest();
  };

  constructor(
    readonly turnBytesMax: number = TURN_BYTES_MAX,
    private readonly meter: LoopMeter = new UtilizationMeter(),
    private readonly restMsMax: number = REST_MS_MAX,
  ) {}

  /** A call that is not bulk work begins. */
  noteShortCall(): void {
    this.shortCalls++;
  }

  /** Does the work at once, or in a later turn; it must not throw. `flow`: whose work it is. */
  run(flow: unknown, bytes: number, work: () => void): void {
    if (this.waiting.length === 0 && this.hasRoom(bytes)) {
      this.begin(bytes);
      work();
    } else {
      this.waiting.push(flow, { bytes, work });
    }
  }

  /** Resolves when the caller may do the work, right away. Undefined: now. */
  turn(flow: unknown, bytes: number): Promise<void> | undefined {
    if (this.waiting.length === 0 && this.hasRoom(bytes)) {
      this.begin(bytes);
      return undefined;
    }
    return new Promise((resolve) => this.waiting.push(flow, { bytes, work: resolve }));
  }

  /** The same; a response with few bytes of values is a short call: it takes no turn. */
  turnIfLong(flow: unknown, bytes: number): Promise<void> | undefined {
    if (bytes > SHORT_BYTES_MAX) return this.turn(flow, bytes);
    noteShortCall();
    return undefined;
  }

  private hasRoom(bytes: number): boolean {
    if (this.isResting) return false;
    const isShared = this.isShared || this.shortCalls !== this.shortCallsBefore;
    const bytesMax = isShared ? this.turnBytesMax : this.turnBytesMax * UNSHARED_FACTOR;
    return this.turnBytes === 0 || this.turnBytes + bytes <= bytesMax;
  }

  private begin(bytes: number): void {
    if (this.turnBytes === 0) {
      this.meter.start();
      setImmediate(this.endTurn);
    }
    this.turnBytes += Math.max(1, bytes);
    if (this.turnBytes > this.turnBytesPeak) this.turnBytesPeak = this.turnBytes;
  }

  private rest(): void {
    this.isResting = this.needsRest();
    if (this.isResting) setTimeout(() => this.rest(), REST_CHECK_MS);
    else this.serve();
  }

  private needsRest(): boolean {
    const nowMs = performance.now();
    if (this.shortCalls !== this.shortCallsBefore) this.shortCallsUntilMs = nowMs + SHORT_CALLS_MS;
    this.shortCallsBefore = this.shortCalls;
    this.isShared = nowMs < this.shortCallsUntilMs;
    if (!this.isShared) return false;
    const { activeMs, idleMs } = this.meter.elapsed();
    const elapsedMs = activeMs + idleMs;
    const restMsMax = this.restMsMax * Math.max(1, this.lastTurnBytes / TURN_BYTES_MAX);
    return idleMs < IDLE_SHARE * elapsedMs && elapsedMs < restMsMax;
  }

  private serve(): void {
    for (let next = this.waiting.peek(); next !== undefined && this.hasRoom(next.bytes);) {
      this.waiting.shift();
      this.begin(next.bytes);
      next.work();
      next = this.waiting.peek();
    }
  }
}

class UtilizationMeter implements LoopMeter {
  private before = performance.eventLoopUtilization();

  start(): void {
    this.before = performance.eventLoopUtilization();
  }

  elapsed(): { readonly activeMs: number; readonly idleMs: number } {
    const { active, idle } = performance.eventLoopUtilization(this.before);
    return { activeMs: active, idleMs: idle };
  }
}

/** Of this thread's event loop. */
export const bulkScheduler = new BulkScheduler();

/** The same without rests, for what must not fall behind, such as live changes: it takes turns, and other work comes between them. */
export const liveScheduler = new BulkScheduler(TURN_BYTES_MAX, new UtilizationMeter(), 0);

/** A call begins that is not bulk work. */
export function noteShortCall(): void {
  bulkScheduler.noteShortCall();
  liveScheduler.noteShortCall();
}
