/** Reads that are shared: each caller gets an answer that was asked for after its call began, and no read serves nobody. */
import { describe, expect, it } from "vitest";
import { RequestCoalescer } from "../../src/nats/client/request-coalescer.js";
import type { CallContext } from "../../src/kv/call-context.js";

interface Asked {
  readonly context: CallContext;
  readonly answer: (text: string) => void;
  readonly fail: (error: Error) => void;
}

function coalescer(): { readonly get: (context?: CallContext) => Promise<string>; readonly asked: Asked[] } {
  const requests = new RequestCoalescer<string>(60_000);
  const asked: Asked[] = [];
  const ask = (context: CallContext): Promise<string> =>
    new Promise((answer, fail) => asked.push({ context, answer, fail }));
  return { asked, get: (context = scopeOf()) => requests.get("key", context, ask) };
}

const scopeOf = (signal = new AbortController().signal, timeMs = 60_000): CallContext => ({
  deadlineMs: performance.now() + timeMs,
  signal,
});
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("RequestCoalescer", () => {
  it("serves who comes during a read with the one after it", async () => {
    const { get, asked } = coalescer();
    const first = get();
    const later = Array.from({ length: 100 }, () => get());
    expect(asked).toHaveLength(1);
    asked[0]?.answer("one");
    expect(await first).toBe("one");
    await turn();
    expect(asked).toHaveLength(2);
    const last = get();
    asked[1]?.answer("two");
    expect(new Set(await Promise.all(later))).toEqual(new Set(["two"]));
    await turn();
    asked[2]?.answer("three");
    expect(await last).toBe("three");
    expect(asked).toHaveLength(3);
  });

  it("asks for those who wait although the read before failed", async () => {
    const { get, asked } = coalescer();
    const [first, second] = [get(), get()];
    asked[0]?.fail(new Error("on purpose"));
    await expect(first).rejects.toThrow("on purpose");
    await turn();
    asked[1]?.answer("two");
    expect(await second).toBe("two");
  });

  it("ends a read when the last of its callers gave up, not before", async () => {
    const { get, asked } = coalescer();
    const callers = [new AbortController(), new AbortController()];
    const running = get();
    const calls = callers.map(({ signal }) => get(scopeOf(signal)));
    asked[0]?.answer("one");
    await running;
    await turn();
    const read = asked[1]?.context.signal;
    callers[0]?.abort();
    await expect(calls[0]).rejects.toMatchObject({ reason: "canceled" });
    expect(read?.aborted).toBe(false);
    callers[1]?.abort();
    await expect(calls[1]).rejects.toMatchObject({ reason: "canceled" });
    expect(read?.aborted).toBe(true);
  });

  it("does not ask for callers that gave up while they waited, and asks for the next ones", async () => {
    const { get, asked } = coalescer();
    const running = get();
    const caller = new AbortController();
    const canceled = get(scopeOf(caller.signal));
    caller.abort();
    await expect(canceled).rejects.toMatchObject({ reason: "canceled" });
    asked[0]?.answer("one");
    await running;
    await turn();
    expect(asked).toHaveLength(1);
    const next = get();
    await turn();
    asked[1]?.answer("two");
    expect(await next).toBe("two");
  });

  it.each(["canceled", "deadline"] as const)(
    "serves who comes after all that waited for the next read gave up: %s",
    async (reason) => {
      const { get, asked } = coalescer();
      const running = get();
      const caller = new AbortController();
      const gone = get(scopeOf(caller.signal, reason === "deadline" ? 1 : undefined));
      if (reason === "canceled") caller.abort();
      await expect(gone).rejects.toMatchObject({ reason });
      const later = get();
      asked[0]?.answer("one");
      await running;
      await turn();
      expect(asked[1]?.context.signal.aborted).toBe(false);
      asked[1]?.answer("two");
      expect(await later).toBe("two");
    },
  );

  it("keeps a caller no longer than its own deadline", async () => {
    const { get, asked } = coalescer();
    await expect(get(scopeOf(undefined, 1))).rejects.toMatchObject({ reason: "deadline" });
    expect(asked[0]?.context.signal.aborted).toBe(true);
  });
});
