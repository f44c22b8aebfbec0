/** The memory of lists, histories and batches: held until the caller has encoded its response, and no more than allowed by all callers. */
import { expect } from "vitest";
import { HeldMemory } from "../../src/kv/held-memory.js";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import type { CallContext } from "../../src/kv/call-context.js";
import { storeTest } from "../support/fixtures.js";
import { until } from "../support/until.js";
import { newBucketName, scope } from "./store-contract.js";
import { openStore } from "./store-support.js";

const VALUE_BYTES = 200_000;
const REVISIONS = 8;
const KEYS = Array.from({ length: 10 }, (_, index) => `k${index}`);
/** Of two or three responses. */
const limits = { ...DEFAULT_LIMITS, totalPageBytesMax: 16 * 1_048_576 };
const ALL = { limit: 0, pageToken: "" };

const it = storeTest()
  .extend("limited", { scope: "file" }, async ({ server }, { onCleanup }) => {
    const limited = await openStore(server.url, { limits });
    onCleanup(() => limited.close());
    return limited;
  })
  .extend("filled", { scope: "file" }, async ({ limited: { store } }) => {
    const name = newBucketName();
    await store.createBucket({ name, history: REVISIONS }, scope());
    for (let round = 0; round < REVISIONS; round++)
      await Promise.all(KEYS.map((key) => store.put(name, key, new Uint8Array(VALUE_BYTES), {}, scope())));
    return name;
  });

/** A call whose response is encoded when `held` is released. */
function call(signal = new AbortController().signal): CallContext & { readonly held: HeldMemory } {
  return { deadlineMs: performance.now() + 30_000, signal, held: new HeldMemory() };
}

const READS = ["a batch", "a batch at an earlier revision", "a list", "a history"] as const;

it.for(READS)(
  "%s holds its memory until its response is encoded",
  async (read, { limited: { store }, filled: bucket }) => {
    const { revision } = await store.getBucket(bucket, scope());
    const start = (context: CallContext): Promise<unknown> => {
      if (read === "a list") return store.listKeys(bucket, [], ALL, context);
      if (read === "a history") return store.history(bucket, "k0", ALL, context);
      return store.batchGet(bucket, KEYS, read === "a batch" ? 0n : revision - 5n, context);
    };
    const reserved = (): number => store.pageMemory().reserved;
    expect(reserved()).toBe(0);
    const first = call();
    await start(first);
    expect(reserved()).toBeGreaterThan(0);
    first.held.release();
    await until("the memory is released", () => reserved() === 0);

    // Many wait for each other, and all of them end. Some give up.
    const controller = new AbortController();
    const contexts = Array.from({ length: 12 }, (_, index) =>
      call(index % 4 === 3 ? controller.signal : undefined),
    );
    const results = contexts.map((context) =>
      start(context)
        .then(() => new Promise((resolve) => setImmediate(resolve)))
        .then(
          () => "read",
          () => "canceled",
        )
        .finally(() => context.held.release()),
    );
    controller.abort();
    const outcomes = await Promise.all(results);
    expect(outcomes.filter((outcome) => outcome === "read").length).toBeGreaterThanOrEqual(9);
    await until("the memory is released", () => reserved() === 0);
    // A call that has memory gets more without waiting.
    expect(store.pageMemory().peak).toBeLessThan(1.5 * limits.totalPageBytesMax);

    // A caller that encodes nothing holds nothing.
    await start(scope());
    await until("the memory is released", () => reserved() === 0);
  },
);
