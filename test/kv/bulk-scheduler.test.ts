/** Bulk work in turns of the event loop: so many bytes in each, the callers in turn, and a rest between them while short calls come in. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { BulkScheduler, type LoopMeter } from "../../src/kv/bulk-scheduler.js";
import { FairQueue } from "../../src/kv/fair-queue.js";

const TURN_BYTES = 1_000;
/** More than fits into any turn with another piece. */
const LARGE_PIECE_BYTES = 100 * TURN_BYTES;

/** A loop that says what the test wants. */
class FakeLoop implements LoopMeter {
  starts = 0;
  elapsedNow = { activeMs: 1, idleMs: 0 };
  start(): void {
    this.starts++;
  }
  elapsed(): FakeLoop["elapsedNow"] {
    return this.elapsedNow;
  }
}

describe("FairQueue", () => {
  it("serves the flows in turn, and each in its own order", () => {
    const queue = new FairQueue<string>();
    for (const item of ["a1", "a2", "a3", "b1", "c1", "c2"]) queue.push(item[0], item);
    const served: (string | undefined)[] = [];
    while (queue.length > 0) {
      const next = queue.peek();
      served.push(queue.shift());
      expect(served.at(-1)).toBe(next);
      if (served.length === 2) queue.push("b", "b2");
    }
    expect(served).toEqual(["a1", "b1", "c1", "a2", "b2", "c2", "a3"]);
    expect(queue.shift()).toBeUndefined();
  });
});

describe("BulkScheduler", () => {
  it.each([
    [
      "few bytes in one turn while short calls come in",
      true,
      [[400, 400], [400], [5_000], [10, 0], [990, 1]],
    ],
    ["more in one turn while there are none", false, [[400, 400, 400, 5_000, 10, 0, 990, 1]]],
  ])("does %s, or one larger piece", async (_, areShortCalls, expected) => {
    const loop = new FakeLoop();
    loop.elapsedNow = { activeMs: 1, idleMs: 3 };
    const scheduler = new BulkScheduler(TURN_BYTES, loop);
    const turns: number[][] = [];
    const pieces = [400, 400, 400, 5_000, 10, 0, 990, 1].map(async (bytes, index) => {
      const work = (): void => {
        (turns[loop.starts - 1] ??= []).push(bytes);
      };
      if (areShortCalls) scheduler.noteShortCall();
      if (index % 2 === 0) scheduler.run("caller", bytes, work);
      else await Promise.resolve(scheduler.turn("caller", bytes)).then(work);
    });
    await Promise.all(pieces);
    expect(turns.map((turn) => turn.sort())).toEqual(expected.map((turn) => turn.sort()));
    const bytes = turns.map((turn) => turn.reduce((sum, piece) => sum + piece, 0));
    expect(scheduler.turnBytesPeak).toBeGreaterThanOrEqual(Math.max(...bytes));
  });

  it("serves callers in turn, regardless of who asked first", async () => {
    const scheduler = new BulkScheduler(TURN_BYTES, new FakeLoop());
    const order: string[] = [];
    const run = (caller: string, name: string): void =>
      scheduler.run(caller, LARGE_PIECE_BYTES, () => order.push(name));
    for (let piece = 0; piece < 20; piece++) run("greedy", `greedy ${piece}`);
    run("modest", "modest 0");
    run("modest", "modest 1");
    while (order.length < 22) await nextTurn();
    expect(order.indexOf("modest 0")).toBeLessThanOrEqual(2);
    expect(order.indexOf("modest 1")).toBeLessThanOrEqual(4);
  });

  it("rests while short calls come in until the loop was idle long enough", async () => {
    const loop = new FakeLoop();
    const scheduler = new BulkScheduler(TURN_BYTES, loop);
    const done: string[] = [];
    scheduler.noteShortCall();
    scheduler.run("caller", TURN_BYTES, () => done.push("first"));
    scheduler.run("caller", TURN_BYTES, () => done.push("second"));
    for (let turn = 0; turn < 20; turn++) {
      scheduler.noteShortCall();
      await nextTurn();
    }
    expect(done).toEqual(["first"]);
    expect(loop.starts).toBe(1);
    loop.elapsedNow = { activeMs: 1, idleMs: 3 };
    while (done.length < 2) await nextTurn();
    expect(loop.starts).toBe(2);
  });

  it("does not rest forever, however busy the loop is", async () => {
    const loop = new FakeLoop();
    const scheduler = new BulkScheduler(TURN_BYTES, loop);
    scheduler.noteShortCall();
    scheduler.run("caller", TURN_BYTES, () => undefined);
    loop.elapsedNow = { activeMs: 1_000, idleMs: 0 };
    await scheduler.turn("caller", TURN_BYTES);
    expect(loop.starts).toBe(2);
  });

  it("does not rest where there are no short calls", async () => {
    const scheduler = new BulkScheduler(TURN_BYTES, new FakeLoop());
    let pieces = 0;
    for (let piece = 0; piece < 5; piece++) scheduler.run("caller", TURN_BYTES, () => pieces++);
    for (let turn = 0; turn < 6; turn++) await nextTurn();
    expect(pieces).toBe(5);
  });
});
