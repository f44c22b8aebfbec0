/** Watching a bucket, through every door. The hub's own tests are in test/nats. */
import { Code } from "@connectrpc/connect";
import { describe, expect } from "vitest";
import type { WatchResponse } from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { WatchRequest_Start as Start } from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { serviceTest } from "../support/fixtures.js";
import { freshName } from "../support/service.js";
import { ALL_DOORS } from "./doors.js";
import { bytes, clientsOf, line, refusal, text } from "./support.js";

const withService = serviceTest();

/** The first event, or the refusal. */
async function firstOf(stream: AsyncIterable<WatchResponse>): Promise<unknown> {
  return stream[Symbol.asyncIterator]().next();
}

describe.each(ALL_DOORS)("watch over $name", (door) => {
  const it = withService.extend("setUp", ({ service }) => async (history = 5) => {
    const clients = clientsOf(door, service.url);
    const bucket = freshName();
    await clients.buckets.createBucket({ name: bucket, history });
    const put = (key: string, value: string) => clients.kv.put({ bucket, key, value: bytes(value) });
    return { ...clients, bucket, put };
  });

  /** Reads a watch line by line; `until` waits for this many more. */
  function reader(stream: AsyncIterable<WatchResponse>) {
    const iterator = stream[Symbol.asyncIterator]();
    return {
      async next(count: number): Promise<string[]> {
        const lines: string[] = [];
        while (lines.length < count) {
          const result = await iterator.next();
          if (result.done === true) throw new Error(`the watch ended after ${lines.join(", ")}`);
          lines.push(line(result.value));
        }
        return lines;
      },
      leave: () => iterator.return?.(),
    };
  }

  it("sends the present values, the mark, then each change", async ({ setUp }) => {
    const { kv, bucket, put } = await setUp();
    await put("a", "1");
    await put("b", "2");
    await put("a", "3");
    await put("gone", "4");
    await kv.delete({ bucket, key: "gone" });
    const watch = reader(kv.watch({ bucket }));
    expect(await watch.next(3)).toEqual(["put b=2 @2", "put a=3 @3", "end @5"]);
    await put("c", "6");
    await kv.delete({ bucket, key: "a" });
    expect((await watch.next(2)).map((event) => event.replace(/^(delete|purge) /, "delete "))).toEqual([
      "put c=6 @6",
      "delete a @7",
    ]);
    await watch.leave();
  });

  it("marks the end of an empty snapshot", async ({ setUp }) => {
    const { kv, bucket, put } = await setUp();
    const watch = reader(kv.watch({ bucket, filters: ["nothing.>"] }));
    expect(await watch.next(1)).toEqual(["end @0"]);
    await put("nothing.here", "1");
    expect(await watch.next(1)).toEqual(["put nothing.here=1 @1"]);
    await watch.leave();
  });

  it("sends only what its filters match", async ({ setUp }) => {
    const { kv, bucket, put } = await setUp();
    const watch = reader(kv.watch({ bucket, filters: ["user.*", "exact"] }));
    await watch.next(1);
    for (const key of ["other", "user.1", "user.1.name", "exact", "exact2", "user.2"]) await put(key, "v");
    expect(await watch.next(3)).toEqual(["put user.1=v @2", "put exact=v @4", "put user.2=v @6"]);
    await watch.leave();
  });

  it("begins with the revision asked for, inclusive", async ({ setUp }) => {
    const { kv, bucket, put } = await setUp();
    for (const value of ["1", "2", "3"]) await put("k", value);
    const watch = reader(kv.watch({ bucket, startRevision: 2n }));
    expect(await watch.next(3)).toEqual(["put k=2 @2", "put k=3 @3", "end @3"]);
    await put("k", "4");
    expect(await watch.next(1)).toEqual(["put k=4 @4"]);
    await watch.leave();
  });

  it("sends every put of a busy key, with the entry before it, where the bucket keeps no history", async ({
    setUp,
  }) => {
    const { kv, bucket, put } = await setUp(1);
    const iterator = kv.watch({ bucket, previous: true })[Symbol.asyncIterator]();
    await iterator.next();
    await Promise.all(Array.from({ length: 50 }, (_, n) => put("hot", String(n))));
    const values = new Map<bigint, string>();
    for (let revision = 1n; revision <= 50n; revision++) {
      const { value } = (await iterator.next()) as { value: WatchResponse };
      expect(line(value)).toMatch(new RegExp(`^put hot=\\d+ @${revision}$`));
      expect(value.superseded).toBe(0n);
      if (value.event.case !== "change") continue;
      const { entry, previous } = value.event.value;
      values.set(revision, text(entry?.value));
      expect(previous === undefined ? undefined : text(previous.value)).toBe(values.get(revision - 1n));
    }
    await iterator.return?.();
  });

  it("counts what was superseded before this copy of the service read it", async ({ setUp }) => {
    const { kv, bucket, put } = await setUp(1);
    for (const value of ["1", "2", "3"]) await put("k", value);
    await put("other", "4");
    const seen: [string, bigint][] = [];
    for await (const event of kv.watch({ bucket, startRevision: 2n })) {
      seen.push([line(event), event.superseded]);
      if (event.event.case === "snapshotEnd") break;
    }
    expect(seen).toEqual([
      ["put k=3 @3", 1n],
      ["put other=4 @4", 0n],
      ["end @4", 0n],
    ]);
  });

  it("ends rather than pass over a superseded revision when asked", async ({ setUp }) => {
    const { kv, bucket, put } = await setUp(1);
    for (const value of ["1", "2"]) await put("k", value);
    const first = firstOf(kv.watch({ bucket, startRevision: 1n, everyChange: true }));
    await expect(first).rejects.toThrow("superseded before they could be sent");
    const watch = reader(kv.watch({ bucket, startRevision: 2n, everyChange: true }));
    expect(await watch.next(2)).toEqual(["put k=2 @2", "end @2"]);
    await watch.leave();
  });

  it("refuses a revision that has not been written yet", async ({ setUp }) => {
    const { kv, bucket } = await setUp();
    const first = firstOf(kv.watch({ bucket, startRevision: 99n }));
    await refusal(first, Code.OutOfRange, "revision_in_future");
  });

  it("leaves out deletes when asked", async ({ setUp }) => {
    const { kv, bucket, put } = await setUp();
    const watch = reader(kv.watch({ bucket, ignoreDeletes: true }));
    await watch.next(1);
    await put("a", "1");
    await kv.delete({ bucket, key: "a" });
    await put("b", "2");
    await kv.delete({ bucket, key: "b", purge: true });
    await put("c", "3");
    expect(await watch.next(3)).toEqual(["put a=1 @1", "put b=2 @3", "put c=3 @5"]);
    await watch.leave();
  });

  it("leaves out values when asked", async ({ setUp }) => {
    const { kv, bucket, put } = await setUp();
    await put("a", "1");
    const watch = reader(kv.watch({ bucket, keysOnly: true }));
    expect(await watch.next(2)).toEqual(["put a= @1", "end @1"]);
    await put("b", "2");
    expect(await watch.next(1)).toEqual(["put b= @2"]);
    await watch.leave();
  });

  it("refuses a bucket that is not there", async ({ setUp }) => {
    const { kv } = await setUp();
    const first = firstOf(kv.watch({ bucket: "not-there" }));
    await refusal(first, Code.NotFound, "bucket_not_found");
  });

  it("refuses a malformed filter", async ({ setUp }) => {
    const { kv, bucket } = await setUp();
    const first = firstOf(kv.watch({ bucket, filters: ["a.>.b"] }));
    await refusal(first, Code.InvalidArgument, "invalid_argument");
  });

  it("ends when the bucket is deleted", async ({ setUp }) => {
    const { kv, buckets, bucket } = await setUp();
    const iterator = kv.watch({ bucket })[Symbol.asyncIterator]();
    await iterator.next();
    const next = iterator.next();
    next.catch(() => undefined);
    await buckets.deleteBucket({ bucket });
    if (door.isWholeContract) await refusal(next, Code.NotFound, "bucket_not_found");
    else await expect(next).rejects.toThrow(/no bucket|deleted/);
  });

  it("sees every one of many changes, in order", async ({ setUp }) => {
    const { kv, bucket, put } = await setUp(64);
    const watch = reader(kv.watch({ bucket }));
    await watch.next(1);
    const writing = Promise.all(
      Array.from({ length: 200 }, (_, index) => put(`k${index % 10}`, String(index))),
    );
    const revisions = (await watch.next(200)).map((event) => Number(event.split("@")[1]));
    await writing;
    expect(revisions).toEqual(Array.from({ length: 200 }, (_, index) => index + 1));
    await watch.leave();
  });

  it.runIf(door.isWholeContract)(
    "starts now or with the history, and sends what a change replaced",
    async ({ setUp }) => {
      const { kv, bucket, put } = await setUp();
      await put("k", "1");
      await put("k", "2");
      const now = reader(
        kv.watch({ bucket, start: Start.NOW, previous: true, progressInterval: { nanos: 100_000_000 } }),
      );
      const history = reader(kv.watch({ bucket, start: Start.HISTORY }));
      expect(await history.next(3)).toEqual(["put k=1 @1", "put k=2 @2", "end @2"]);
      expect(await now.next(1)).toEqual(["progress"]);
      await put("k", "3");
      let event = "progress";
      while (event === "progress") [event = ""] = await now.next(1);
      expect(event).toBe("put k=3 @3");
      await Promise.all([now.leave(), history.leave()]);
    },
  );
});
