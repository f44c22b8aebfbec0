/**
 * The bytes that live feeds ask for before there is anything to deliver. A quarter of the connection's budget is for all feeds together:
 * the more there are, the less each asks for ahead. What does not fit in that is asked for when it is there.
 */
import type { ByteBudget } from "../client/byte-budget.js";

const WINDOW_BYTES_MAX = 65_536;
/** Small changes still arrive without another round trip. */
const WINDOW_BYTES_MIN = 1_024;
const BUDGET_SHARE = 0.25;

export class IdleWindows {
  private reserved = 0;

  constructor(private readonly unread: ByteBudget) {}

  /** Reserves a window, without waiting; returns its bytes. */
  reserve(): number {
    const left = this.unread.bytesMax * BUDGET_SHARE - this.reserved;
    const bytes = Math.max(WINDOW_BYTES_MIN, Math.min(WINDOW_BYTES_MAX, Math.floor(left / 2)));
    this.reserved += bytes;
    this.unread.count(bytes);
    return bytes;
  }

  release(bytes: number): void {
    this.reserved -= bytes;
    this.unread.release(bytes);
  }
}
