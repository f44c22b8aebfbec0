/** The budget of bytes that NATS may have on their way: never exceeded, in order, and given back in full. */
import { describe, expect, it } from "vitest";
import { ByteBudget } from "../../src/nats/client/byte-budget.js";
import { Random } from "../../packages/http2/test/fuzz/random.js";

const MAX = 1_000;

describe("ByteBudget", () => {
  it("never exceeds its bytes, takes turns in order, and has all of them back, whatever the order of releases", () => {
    for (let seed = 1; seed <= 200; seed++) {
      const random = new Random(seed);
      const budget = new ByteBudget(MAX);
      const held: number[] = [];
      const turns: number[] = [];
      let asked = 0;
      for (let step = 0; step < 300; step++) {
        if (random.chance(0.6)) {
          const bytes = budget.sizeOf(1 + random.below(1.2 * MAX));
          const id = asked++;
          const isWanted = random.chance(0.8);
          budget.reserve(bytes, () => {
            turns.push(id);
            if (isWanted) held.push(bytes);
            return isWanted;
          });
        } else if (held.length > 0) {
          budget.release(held.splice(random.below(held.length), 1)[0] ?? 0);
        }
        expect(budget.reserved).toBe(held.reduce((sum, bytes) => sum + bytes, 0));
        expect(budget.reserved).toBeLessThanOrEqual(MAX);
      }
      while (held.length > 0) budget.release(held.pop() ?? 0);
      expect(turns).toEqual(Array.from({ length: asked }, (_, id) => id));
      expect(budget.reserved).toBe(0);
      expect(budget.peak).toBeLessThanOrEqual(MAX);
    }
  });

  it("lets nobody pass those who wait, but what is only counted", () => {
    const budget = new ByteBudget(MAX);
    expect(budget.tryReserve(600)).toBe(true);
    budget.reserve(500, () => true);
    expect(budget.tryReserve(1)).toBe(false);
    budget.count(MAX);
    expect(budget.reserved).toBe(600 + MAX);
    budget.release(MAX);
    budget.release(600);
    expect(budget.reserved).toBe(500);
  });

  it("has room to spare for others only while nobody waits and a quarter stays free", () => {
    const budget = new ByteBudget(MAX);
    expect(budget.hasSpareRoom(750)).toBe(true);
    expect(budget.hasSpareRoom(751)).toBe(false);
    budget.reserve(MAX, () => true);
    budget.reserve(1, () => true);
    expect(budget.hasSpareRoom(0)).toBe(false);
  });

  it("goes on with the next where a turn throws", () => {
    const budget = new ByteBudget(MAX);
    budget.reserve(MAX, () => true);
    const turns: string[] = [];
    budget.reserve(MAX, () => {
      throw new Error("on purpose");
    });
    budget.reserve(MAX, () => turns.push("next") > 0);
    expect(() => budget.release(MAX)).toThrow("on purpose");
    expect(turns).toEqual(["next"]);
    expect(budget.reserved).toBe(MAX);
  });
});
