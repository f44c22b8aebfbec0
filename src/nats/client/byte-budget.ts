/**
 * How many bytes NATS may have on their way to us over one connection. nats-server closes a client's connection when more than its
 * `max_pending` (64 MiB by default) waits to be sent, and every call on the connection fails with it.
 *
 * Who asks for something reserves the largest answer before asking, and releases it when the answer has ARRIVED, also when nobody wants
 * it any more: until then it is in the server's buffer.
 */

/** Called when there is room. Returns whether the bytes are still wanted: true takes them. */
type Turn = () => boolean;

interface Waiting {
  readonly bytes: number;
  readonly turn: Turn;
}

const SPARE_FRACTION = 0.75;

export class ByteBudget {
  /** Bytes reserved at present. */
  reserved = 0;
  /** The most that was ever reserved. */
  peak = 0;
  private waiting: Waiting[] = [];
  private head = 0;

  constructor(readonly bytesMax: number) {}

  /** Reserves without waiting, also beyond the budget: for small answers that must not wait behind large ones. */
  count(bytes: number): void {
    this.reserved += bytes;
    if (this.reserved > this.peak) this.peak = this.reserved;
  }

  /** Whether there is room and nobody waits. */
  canReserve(bytes: number): boolean {
    return this.head === this.waiting.length && this.hasRoom(bytes);
  }

  /** Whether a quarter of the budget stays free with these: for answers that may come over another connection too. */
  hasSpareRoom(bytes: number): boolean {
    return this.canReserve(bytes) && this.reserved + bytes <= this.bytesMax * SPARE_FRACTION;
  }

  /** Reserves where there is room and nobody waits. More than the whole budget counts as the whole: {@link sizeOf}. */
  tryReserve(bytes: number): boolean {
    if (!this.canReserve(bytes)) return false;
    this.count(bytes);
    return true;
  }

  /** Reserves when there is room, first come, first served. Calls `turn` once; at once where there is room now. */
  reserve(bytes: number, turn: Turn): void {
    this.waiting.push({ bytes, turn });
    this.grant();
  }

  /** What can be reserved for an answer of this size. */
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
      const first = this.waiting[this.head];
      if (first === undefined || !this.hasRoom(first.bytes)) return;
      this.head++;
      if (this.head === this.waiting.length) {
        this.waiting = [];
        this.head = 0;
      } else if (this.head >= 256 && this.head * 2 >= this.waiting.length) {
        this.waiting = this.waiting.slice(this.head);
        this.head = 0;
      }
      // Counted first: the turn may release, or reserve more.
      this.count(first.bytes);
      try {
        if (!first.turn()) this.reserved -= first.bytes;
      } catch (fault) {
        // Those behind it are not to wait for its bytes.
        this.release(first.bytes);
        throw fault;
      }
    }
  }
}
