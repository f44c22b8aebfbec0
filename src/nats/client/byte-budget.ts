/**
 * Limits the bytes in flight from NATS to this process over one connection. nats-server closes a client's connection when more than its
 * `max_pending` (64 MiB by default) waits to be sent, and every call on the connection fails.
 *
 * A request reserves the size of its largest reply before it is sent, and releases it when the reply has ARRIVED, even if the request was
 * canceled: until then the reply is in the server's buffer.
 */

import { FairQueue } from "../../kv/fair-queue.js";

/** Called when the bytes are available. Returns whether they are still needed; false releases them. */
type OnGranted = () => boolean;

interface Waiter {
  readonly bytes: number;
  readonly onGranted: OnGranted;
}

const SPARE_FRACTION = 0.75;

export class ByteBudget {
  /** The currently reserved bytes. */
  reserved = 0;
  /** The most bytes ever reserved at once. */
  peak = 0;
  private readonly waiting = new FairQueue<Waiter>();

  constructor(readonly bytesMax: number) {}

  /** Reserves without waiting, even beyond the budget: for small replies, which must not wait behind large ones. */
  count(bytes: number): void {
    this.reserved += bytes;
    if (this.reserved > this.peak) this.peak = this.reserved;
  }

  /** Whether the bytes are available and no other request waits. */
  canReserve(bytes: number): boolean {
    return this.waiting.length === 0 && this.hasRoom(bytes);
  }

  /** Whether a quarter of the budget would stay free: for what can also do without. */
  hasSpareRoom(bytes: number): boolean {
    return this.canReserve(bytes) && this.reserved + bytes <= this.bytesMax * SPARE_FRACTION;
  }

  /** Reserves if the bytes are available and no other request waits. Pass at most the budget: see {@link sizeOf}. */
  tryReserve(bytes: number): boolean {
    if (!this.canReserve(bytes)) return false;
    this.count(bytes);
    return true;
  }

  /**
   * Reserves when the bytes are available, and then calls `onGranted`, possibly before it returns. `flow`: the caller; callers that wait take
   * turns.
   */
  reserve(bytes: number, onGranted: OnGranted, flow?: unknown): void {
    this.waiting.push(flow, { bytes, onGranted });
    this.grant();
  }

  /** The bytes to reserve for a reply of this size: at most the budget. */
  sizeOf(bytes: number): number {
    return Math.min(bytes, this.bytesMax);
  }

  release(bytes: number): void {
    this.reserved -= bytes;
    this.grant();
  }

  private hasRoom(bytes: number): boolean {
    return this.reserved + bytes <= this.bytesMax;
  }

  private grant(): void {
    for (;;) {
      const first = this.waiting.peek();
      if (first === undefined || !this.hasRoom(first.bytes)) return;
      this.waiting.shift();
      // Count first: the callback may release or reserve bytes.
      this.count(first.bytes);
      try {
        if (!first.onGranted()) this.reserved -= first.bytes;
      } catch (fault) {
        // The bytes are not used: grant them to the next request.
        this.release(first.bytes);
        throw fault;
      }
    }
  }
}
