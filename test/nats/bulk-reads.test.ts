/** Bulk reads: a few at a time, the callers in turn, and no place lost whatever becomes of a read. */
import { describe, expect, it } from "vitest";
import { BulkScheduler } from "../../src/kv/bulk-scheduler.js";
import { AnswerSizes } from "../../src/nats/client/answer-sizes.js";
import { BulkReads } from "../../src/nats/client/bulk-reads.js";

const READS_MAX = 2;
/** Turns that never end: what waits for places is looked at here. */
const scheduler = (): BulkScheduler => new BulkScheduler(Infinity);

describe("BulkReads", () => {
  it("starts no more than its number at once, and the next one when one ends", () => {
    const reads = new BulkReads(READS_MAX, scheduler());
    const started: number[] = [];
    for (let read = 0; read < 10; read++) {
      reads.start({
        flow: read,
        expectedBytes: 1,
        isWanted: () => true,
        start: () => started.push(read),
      });
    }
    expect(started).toEqual([0, 1]);
    for (let ended = 1; ended <= 10; ended++) {
      reads.end();
      expect(started).toHaveLength(Math.min(10, READS_MAX + ended));
    }
    expect(reads.inFlight).toBe(0);
    expect(reads.peak).toBe(READS_MAX);
  });

  it("starts a second read of a caller after one of every other", () => {
    const reads = new BulkReads(1, scheduler());
    const started: string[] = [];
    const start = (flow: string): void =>
      reads.start({ flow, expectedBytes: 1, isWanted: () => true, start: () => started.push(flow) });
    for (let read = 0; read < 5; read++) start("greedy");
    start("modest");
    for (let read = 0; read < 5; read++) reads.end();
    expect(started.slice(0, 3)).toEqual(["greedy", "greedy", "modest"]);
  });

  it("passes over reads whose callers have given up", () => {
    const reads = new BulkReads(1, scheduler());
    const started: string[] = [];
    const read = (name: string, isWanted: boolean): void =>
      reads.start({
        flow: name,
        expectedBytes: 1,
        isWanted: () => isWanted,
        start: () => started.push(name),
      });
    read("first", true);
    for (let index = 0; index < 100; index++) read(`given up ${index}`, false);
    read("last", true);
    reads.end();
    expect(started).toEqual(["first", "last"]);
  });
});

describe("AnswerSizes", () => {
  it("make reads of a stream bulk reads until an answer is small, and after a large one", () => {
    const sizes = new AnswerSizes();
    expect(sizes.bulkBytes("s")).toBeGreaterThan(0);
    sizes.note("s", 100);
    expect(sizes.bulkBytes("s")).toBeUndefined();
    sizes.note("s", 1_000_000);
    sizes.note("s", 100);
    expect(sizes.bulkBytes("s")).toBe(1_000_000);
    expect(sizes.largest("s")).toBe(1_000_000);
  });
});
