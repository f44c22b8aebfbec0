/** The judge of the fault tests: it takes what really happened, and nothing else. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Call, type Effect, isLinearizable } from "./linearizability.js";

const call = (beganMs: number, endedMs: number, effect: Effect): Call => ({ beganMs, endedMs, effect });
const write = (revision: number): Effect => ({ type: "write", revision, hasValue: true });
const remove = (revision: number): Effect => ({ type: "write", revision, hasValue: false });
const saw = (revision: number): Effect => ({ type: "saw", revision });
const NOTHING: Effect = { type: "saw_nothing" };
const MAYBE: Effect = { type: "maybe_deleted" };

describe("histories that can have happened", () => {
  it.each<[string, Call[]]>([
    ["no call at all", []],
    ["a read of what was written", [call(0, 1, write(1)), call(2, 3, saw(1))]],
    ["a read before the first write", [call(0, 1, NOTHING), call(2, 3, write(1))]],
    ["a read beside a write that already shows it", [call(0, 9, write(1)), call(1, 2, saw(1))]],
    ["a read beside a write that does not show it yet", [call(0, 9, write(1)), call(1, 2, NOTHING)]],
    [
      "two overlapping writes, either way",
      [call(0, 9, write(2)), call(0, 9, write(1)), call(10, 11, saw(2))],
    ],
    ["nothing after a delete", [call(0, 1, write(1)), call(2, 3, remove(2)), call(4, 5, NOTHING)]],
    [
      "an unanswered write that is seen much later",
      [call(0, Infinity, write(1)), call(5, 6, NOTHING), call(8, 9, saw(1))],
    ],
    ["an unanswered write that never happened", [call(0, Infinity, write(1)), call(5, 6, NOTHING)]],
    [
      "an unanswered delete that happened",
      [call(0, 1, write(1)), call(2, Infinity, MAYBE), call(3, 4, saw(1)), call(5, 6, NOTHING)],
    ],
  ])("%s", (_, calls) => {
    expect(isLinearizable(calls)).toBe(true);
  });
});

describe("histories that can't have happened", () => {
  it.each<[string, Call[]]>([
    ["a lost write", [call(0, 1, write(1)), call(2, 3, NOTHING)]],
    ["a stale read", [call(0, 1, write(1)), call(2, 3, write(2)), call(4, 5, saw(1))]],
    [
      "a read that goes back",
      [call(0, 9, write(1)), call(0, 20, write(2)), call(10, 11, saw(2)), call(12, 13, saw(1))],
    ],
    ["a write seen before it began", [call(0, 1, saw(1)), call(2, 3, write(1))]],
    ["a revision that nobody wrote", [call(0, 1, write(1)), call(2, 3, saw(7))]],
    ["revisions against the order of time", [call(0, 1, write(2)), call(2, 3, write(1))]],
    ["one revision for two writes", [call(0, 1, write(1)), call(0, 1, write(1))]],
    ["a value after a delete", [call(0, 1, write(1)), call(2, 3, remove(2)), call(4, 5, saw(1))]],
    [
      "an unanswered write that comes and goes",
      [call(0, 1, write(1)), call(2, Infinity, write(2)), call(3, 4, saw(2)), call(5, 6, saw(1))],
    ],
    [
      "an unanswered delete that comes and goes",
      [call(0, 1, write(1)), call(2, Infinity, MAYBE), call(3, 4, NOTHING), call(5, 6, saw(1))],
    ],
  ])("%s", (_, calls) => {
    expect(isLinearizable(calls)).toBe(false);
  });
});

/** A real execution: each call happens at its own moment and is answered by the state at that moment. */
const executions = fc
  .array(
    fc.record({
      kind: fc.constantFrom("put", "delete", "get"),
      before: fc.integer({ min: 0, max: 40 }),
      after: fc.integer({ min: 0, max: 40 }),
      isAnswered: fc.boolean(),
    }),
    { minLength: 1, maxLength: 60 },
  )
  .map((plans) => {
    let revision = 0;
    let hasValue = false;
    return plans.map(({ kind, before, after, isAnswered }, index): Call => {
      const momentMs = index * 10;
      let effect: Effect;
      if (kind === "get") effect = hasValue ? saw(revision) : NOTHING;
      else {
        hasValue = kind === "put";
        effect = hasValue ? write(++revision) : remove(++revision);
      }
      return call(momentMs - before, kind === "get" || isAnswered ? momentMs + after : Infinity, effect);
    });
  });

describe("random executions", () => {
  it("are taken as they happened", () => {
    fc.assert(
      fc.property(executions, (calls) => isLinearizable(calls)),
      { numRuns: 300 },
    );
  });

  it("are refused when a read at the end goes back to an earlier revision", () => {
    fc.assert(
      fc.property(executions, fc.nat(), (calls, pick) => {
        const written = calls.flatMap(({ effect, endedMs }) =>
          effect.type === "write" && endedMs !== Infinity ? [effect.revision] : [],
        );
        fc.pre(written.length >= 2);
        const old = written[pick % (written.length - 1)] ?? 0;
        return !isLinearizable([...calls, call(100_000, 100_001, saw(old))]);
      }),
      { numRuns: 300 },
    );
  });

  it("are refused when an answered write is left out of what a read after it shows", () => {
    fc.assert(
      fc.property(executions, (calls) => {
        const last = calls.findLast(({ effect }) => effect.type === "write");
        fc.pre(last?.effect.type === "write" && last.effect.hasValue && last.endedMs !== Infinity);
        return !isLinearizable([...calls, call(100_000, 100_001, NOTHING)]);
      }),
      { numRuns: 300 },
    );
  });
});
