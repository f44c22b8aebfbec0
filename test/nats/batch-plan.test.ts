/** How waiting writes are divided into batches, and how many checked writes may share one. */
import { describe, expect, it } from "vitest";
import { BATCH_BYTES_MAX, BATCH_MESSAGES_MAX, planBatches } from "../../src/nats/write/batch-plan.js";
import { CheckedWindow } from "../../src/nats/write/checked-window.js";

interface Write {
  readonly subject: string;
  readonly isChecked?: boolean;
  readonly isRollup?: boolean;
  readonly isAlone?: boolean;
  readonly bytes?: number;
}

/** The subjects of each batch. */
function plan(writes: readonly Write[], checkedMax = 1_000, isStaged = false): string[][] {
  const members = writes.map(
    ({ subject, isChecked = false, isRollup = false, isAlone = false, bytes = 0 }) => ({
      group: [
        {
          ...{ place: { bucket: "b", stream: "s" }, subject, isChecked, isRollup },
          ...{ data: new Uint8Array(bytes), headerLines: "", answerTimeoutMs: 1 },
        },
      ],
      isAlone,
    }),
  );
  return planBatches(members, checkedMax, isStaged).map((batch) =>
    batch.flatMap(({ group }) => group.map(({ subject }) => subject)),
  );
}

const many = (count: number, prefix: string, write: Omit<Write, "subject"> = {}): Write[] =>
  Array.from({ length: count }, (_, n) => ({ ...write, subject: `${prefix}${n}` }));
const sizes = (batches: readonly string[][]): number[] => batches.map((batch) => batch.length);

describe("a plan of batches", () => {
  it("sends few writes alone", () => {
    expect(sizes(plan(many(23, "a")))).toEqual(Array(23).fill(1));
    expect(sizes(plan(many(24, "a")))).toEqual([24]);
  });

  it("separates checked writes from others", () => {
    const mixed = many(30, "a").flatMap((write, n) => [write, { subject: `c${n}`, isChecked: true }]);
    const batches = plan(mixed);
    expect(sizes(batches)).toEqual([30, 30]);
    expect(new Set(batches.map((batch) => batch.map((subject) => subject[0]).join("")))).toEqual(
      new Set(["a".repeat(30), "c".repeat(30)]),
    );
  });

  it("limits messages, bytes and checked writes", () => {
    expect(sizes(plan(many(2 * BATCH_MESSAGES_MAX + 30, "a")))).toEqual([1_000, 1_000, 30]);
    const half = many(64, "a", { bytes: BATCH_BYTES_MAX / 32 - 1_000 });
    expect(sizes(plan(half))).toEqual([32, 32]);
    expect(sizes(plan(many(90, "c", { isChecked: true }), 30))).toEqual([30, 30, 30]);
    expect(sizes(plan(many(3, "c", { isChecked: true }), 0))).toEqual([1, 1, 1]);
  });

  it("has unconditional writes of one key in one batch, in their order", () => {
    expect(plan(Array.from({ length: 30 }, () => ({ subject: "hot" })))).toEqual([Array(30).fill("hot")]);
  });

  it("never has a check or a roll-up after another write of its key in a batch, and keeps the order of each key", () => {
    for (const kind of [{ isChecked: true }, { isRollup: true }]) {
      const writes = [{ subject: "hot" }, ...many(30, "a"), { subject: "hot", ...kind }, { subject: "hot" }];
      const batches = plan(writes);
      expect(batches.flat().filter((subject) => subject === "hot")).toHaveLength(3);
      for (const batch of batches)
        if (batch.length > 1) expect(batch.filter((subject) => subject === "hot")).toHaveLength(1);
    }
    const contended = plan(Array.from({ length: 20 }, () => ({ subject: "hot", isChecked: true })));
    expect(sizes(contended)).toEqual(Array(20).fill(1));
  });

  it("does not spread others over the batches of a contended key", () => {
    const writes = many(30, "c", { isChecked: true }).flatMap((write) => [
      write,
      { subject: "hot", isChecked: true },
    ]);
    const [first, ...rest] = plan(writes);
    expect(first).toHaveLength(31);
    expect(rest).toEqual(Array(29).fill(["hot"]));
  });

  it("leaves a write alone that must be", () => {
    expect(sizes(plan([...many(30, "a"), { subject: "b", isAlone: true }, ...many(30, "d")]))).toEqual([
      60, 1,
    ]);
  });
});

describe("the window of checked writes", () => {
  it("halves with each refusal, down to none, and grows back with what is accepted", () => {
    const window = new CheckedWindow();
    expect(window.limit).toBe(48);
    window.refused();
    expect(window.limit).toBe(24);
    window.refused();
    expect(window.limit).toBe(0);
    for (let n = 0; n < 96; n++) window.accepted(1);
    expect(window.limit).toBe(24);
    window.accepted(100_000);
    expect(window.limit).toBe(1_000);
    for (let n = 0; n < 100; n++) window.refused();
    window.accepted(8 * 23);
    expect(window.limit).toBe(24);
  });
});
