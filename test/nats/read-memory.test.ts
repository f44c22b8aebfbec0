/** The memory of reads: what was granted to a call that has ended is free again. */
import { describe, expect, it } from "vitest";
import { ReadMemory } from "../../src/nats/read/read-memory.js";

const BYTES_MAX = 1_000;

function call(): { readonly context: { deadlineMs: number; signal: AbortSignal }; readonly end: () => void } {
  const controller = new AbortController();
  const context = { deadlineMs: performance.now() + 60_000, signal: controller.signal };
  return { context, end: () => controller.abort() };
}

describe("ReadMemory", () => {
  it.each(["before", "after"])(
    "is free again if a call ends in the moment in which it gets its bytes: %s",
    async (order) => {
      const memory = new ReadMemory(BYTES_MAX);
      const first = await memory.reserve(BYTES_MAX, BYTES_MAX, call().context);
      const { context, end } = call();
      const waiting = memory.reserve(BYTES_MAX, BYTES_MAX, context);
      const steps = order === "before" ? [end, first.release] : [first.release, end];
      for (const step of steps) step();
      await waiting.then(
        ({ release }) => release(),
        () => undefined,
      );
      expect(memory.reserved).toBe(0);
      (await memory.reserve(BYTES_MAX, BYTES_MAX, call().context)).release();
    },
  );

  it("gives more to a call that has some, also where others wait", async () => {
    const memory = new ReadMemory(BYTES_MAX);
    const held = [await memory.reserve(BYTES_MAX, BYTES_MAX, call().context)];
    const waiting = memory.reserve(1, 1, call().context);
    held.push(memory.reserveMore(1));
    for (const { release } of held) release();
    (await waiting).release();
    expect(memory.reserved).toBe(0);
  });

  it("lets calls wait for each other", async () => {
    const memory = new ReadMemory(BYTES_MAX);
    const first = await memory.reserve(BYTES_MAX, BYTES_MAX, call().context);
    const second = memory.reserve(BYTES_MAX, BYTES_MAX, call().context);
    first.release();
    first.release();
    (await second).release();
    expect(memory.reserved).toBe(0);
    expect(memory.peak).toBe(BYTES_MAX);
  });
});
