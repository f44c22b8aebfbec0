/** SendQueue and ReceiveFlow against simple models. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { INT31_MAX } from "../src/codes.js";
import { ReceiveFlow } from "../src/receive-flow.js";
import { SendQueue } from "../src/send-queue.js";
import { WriteBuffer } from "../src/write-buffer.js";

interface Model {
  /** The bytes that wait. */
  waiting: number[];
  sent: number[];
  window: number;
  next: number;
}
interface Real {
  readonly queue: SendQueue;
  sent: number[];
}

class Push implements fc.Command<Model, Real> {
  constructor(private readonly length: number) {}
  check = (): boolean => true;
  run(model: Model, { queue }: Real): void {
    const piece = Array.from({ length: this.length }, () => model.next++ & 0xff);
    model.waiting.push(...piece);
    queue.push(Uint8Array.from(piece));
    expect(queue.bytes).toBe(model.waiting.length);
  }
  toString = (): string => `push ${this.length}`;
}

/** Sends as the frame writer does: at most what the window allows. */
class Send implements fc.Command<Model, Real> {
  constructor(private readonly bytesMax: number) {}
  check = (): boolean => true;
  run(model: Model, real: Real): void {
    const bytes = Math.min(this.bytesMax, model.window, model.waiting.length);
    expect(Math.min(this.bytesMax, real.queue.windowBytes, real.queue.bytes)).toBe(bytes);
    if (bytes <= 0) return;
    model.sent.push(...model.waiting.splice(0, bytes));
    model.window -= bytes;
    const output = new WriteBuffer();
    real.queue.moveTo(output, bytes);
    expect(output.bytes).toBe(bytes);
    real.sent.push(...Buffer.concat(output.take()));
    expect(real.sent.length).toBe(real.queue.sentBytes);
  }
  toString = (): string => `send ${this.bytesMax}`;
}

class Widen implements fc.Command<Model, Real> {
  constructor(private readonly bytes: number) {}
  check = (model: Readonly<Model>): boolean => model.window + this.bytes <= INT31_MAX;
  run(model: Model, { queue }: Real): void {
    model.window += this.bytes;
    expect(queue.widen(this.bytes)).toBe(true);
  }
  toString = (): string => `widen ${this.bytes}`;
}

describe("SendQueue", () => {
  it("sends the bytes in order, within a window that may be negative", () => {
    const commands = [
      fc.nat(9_000).map((length) => new Push(length)),
      fc.nat(20_000).map((bytes) => new Send(bytes)),
      fc.integer({ min: -20_000, max: 20_000 }).map((bytes) => new Widen(bytes)),
    ];
    fc.assert(
      fc.property(fc.commands(commands, { maxCommands: 60 }), fc.nat(65_535), (plan, window) => {
        const model: Model = { waiting: [], sent: [], window, next: 0 };
        const real: Real = { queue: new SendQueue(window), sent: [] };
        fc.modelRun(() => ({ model, real }), plan);
        expect(real.queue.windowBytes).toBe(model.window);
        expect(Buffer.from(real.sent).equals(Buffer.from(model.sent))).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  it("refuses a window above 2^31-1", () => {
    const queue = new SendQueue(INT31_MAX - 1);
    expect(queue.widen(1)).toBe(true);
    expect(queue.widen(1)).toBe(false);
  });

  it("holds only what waits, also where it never empties", () => {
    const queue = new SendQueue(INT31_MAX);
    const output = new WriteBuffer();
    const bytes = 10_000;
    let heldMax = 0;
    const measure = (): void => {
      const held = heldBytes(queue);
      heldMax = Math.max(heldMax, held);
    };
    queue.push(new Uint8Array(bytes));
    for (let index = 0; index < 20_000; index++) {
      const piece = new Uint8Array(bytes);
      queue.push(piece);
      queue.moveTo(output, bytes);
      output.take();
      if (index % 100 === 0) measure();
    }
    expect(queue.bytes).toBe(bytes);
    // The pieces that wait, and a bounded number of references to nothing.
    expect(heldMax).toBeLessThan(3 * bytes);
  });
});

/** The bytes that an object's arrays of bytes refer to. */
function heldBytes(value: unknown): number {
  if (value instanceof Uint8Array) return value.buffer.byteLength;
  if (typeof value !== "object" || value === null) return 0;
  return Object.values(value).reduce((sum: number, one) => sum + heldBytes(one), 0);
}

describe("ReceiveFlow", () => {
  it("never lets the peer exceed the window, and gives back all that was consumed", () => {
    const steps = fc.array(fc.tuple(fc.boolean(), fc.nat(50_000)), { maxLength: 200 });
    fc.assert(
      fc.property(steps, fc.integer({ min: 2, max: 1_048_576 }), (plan, windowBytes) => {
        const flow = new ReceiveFlow(windowBytes);
        // What the peer knows of the window.
        let window = windowBytes;
        let received = 0;
        let consumed = 0;
        let credited = 0;
        for (const [receives, wanted] of plan) {
          if (receives) {
            const bytes = Math.min(wanted, window);
            window -= bytes;
            received += bytes;
            expect(flow.receive(bytes)).toBe(true);
          } else {
            const bytes = Math.min(wanted, received - consumed);
            consumed += bytes;
            const increment = flow.consume(bytes);
            credited += increment;
            window += increment;
          }
          expect(flow.unconsumedBytes).toBe(received - consumed);
          expect(window).toBeLessThanOrEqual(windowBytes);
          // Less than half a window stays uncredited: a peer that waits for credit never waits forever.
          expect(consumed - credited).toBeLessThan(windowBytes / 2);
        }
        expect(flow.receive(window + 1)).toBe(false);
      }),
    );
  });
});
