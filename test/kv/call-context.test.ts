/** Why a call ended: its signal is aborted when the client cancels, and at its deadline. */
import { describe, expect, it } from "vitest";
import type { CallContext } from "../../src/kv/call-context.js";
import { withinContext } from "../../src/nats/client/shared-work.js";
import { throwIfEnded } from "../../src/nats/index/key-visit.js";

const NEVER = new Promise<never>(() => undefined);

/** A call whose signal is aborted so many milliseconds before its deadline. */
function abortedBefore(leftMs: number): CallContext {
  return { deadlineMs: performance.now() + leftMs, signal: AbortSignal.abort() };
}

describe("a call whose signal is aborted", () => {
  it("has reached its deadline where the timer fired a moment early", async () => {
    await expect(withinContext(abortedBefore(1), NEVER)).rejects.toMatchObject({ reason: "deadline" });
    expect(() => throwIfEnded(abortedBefore(1))).toThrow(expect.objectContaining({ reason: "deadline" }));
    expect(() => throwIfEnded(abortedBefore(-1))).toThrow(expect.objectContaining({ reason: "deadline" }));
  });

  it("was canceled where it had time left", async () => {
    await expect(withinContext(abortedBefore(60_000), NEVER)).rejects.toMatchObject({ reason: "canceled" });
    expect(() => throwIfEnded(abortedBefore(60_000))).toThrow(
      expect.objectContaining({ reason: "canceled" }),
    );
  });
});
