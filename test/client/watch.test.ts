/** Watches of the SDK: what they give, and how they end. */
import { describe, expect, vi } from "vitest";
import {
  KvInvalidArgumentError,
  KvNotFoundError,
  KvOutOfRangeError,
  KvUnavailableError,
  type WatchOptions,
} from "@ironflow-kv/client";
import { line, next, refusal, take } from "./support.js";
import { WAIT } from "../support/until.js";
import { proxiedTest } from "./proxied-test.js";

const it = proxiedTest({ http2: { idleTimeoutMs: 500, pingIntervalMs: 100 } });

describe("what a watch gives", () => {
  it("the present values first, then the changes, of the keys that match", async ({ direct, proxied }) => {
    await direct.put("user.1", "a");
    await direct.put("other", "x");
    const watch = proxied.watch("user.*");
    expect(await next(watch)).toMatchObject({ type: "put", key: "user.1", revision: 1n });
    await direct.put("user.2", { n: 1 });
    await direct.delete("user.1");
    await direct.purge("user.2");
    const put = await next(watch);
    expect(put).toMatchObject({
      type: "put",
      key: "user.2",
      revision: 3n,
      operation: "put",
      previous: undefined,
    });
    expect(put?.json()).toEqual({ n: 1 });
    expect(await take(watch, 2)).toEqual(["delete user.1 @4", "purge user.2 @5"]);
  });

  it("the end of the snapshot, once, where marks are asked for, also in an empty bucket", async ({
    kv,
    direct,
    proxied,
  }) => {
    const info = await kv.getBucketInfo(direct.name);
    const watch = proxied.watch(undefined, { marks: true });
    expect((await watch.next()).value).toEqual({
      type: "snapshot_end",
      revision: 0n,
      bucketCreatedAt: info.createdAt,
      superseded: 0,
    });
    await watch.return();
  });

  it("every kept revision with start history, and the replaced entry with previous", async ({
    direct,
    proxied,
  }) => {
    await direct.put("k", "1");
    await direct.put("k", "2");
    expect(await take(proxied.watch("k", { start: "history" }), 2)).toEqual(["put k=1 @1", "put k=2 @2"]);
    const watch = proxied.watch("k", { previous: true });
    await watch.next();
    await direct.put("k", "3");
    const change = await next(watch);
    expect(change?.previous?.text()).toBe("2");
    await watch.return();
  });

  it("neither values nor deletes where they are not wanted", async ({ direct, proxied }) => {
    await direct.put("k", "1");
    const watch = proxied.watch("k", { keysOnly: true, ignoreDeletes: true });
    expect(await next(watch)).toMatchObject({ key: "k", value: new Uint8Array() });
    await direct.delete("k");
    await direct.put("k", "2");
    expect(await next(watch)).toMatchObject({ type: "put", revision: 3n });
    await watch.return();
  });

  it.for<[string, WatchOptions, RegExp]>([
    ["start with startRevision", { start: "now", startRevision: 1 }, /start and startRevision are both set/],
    ["bucketCreatedAt alone", { bucketCreatedAt: new Date() }, /startRevision/],
    ["a startRevision of 0", { startRevision: 0 }, /startRevision is 0/],
    ["a negative interval", { progressIntervalMs: -1 }, /progressIntervalMs/],
  ])("refuses %s before anything is sent", ([, options, sentence], { proxied, proxy }) => {
    expect(() => proxied.watch("k", options as WatchOptions & { marks?: false })).toThrow(sentence);
    expect(proxy.connections).toBe(0);
  });

  it("the service's refusal of a malformed filter", async ({ proxied }) => {
    await refusal(proxied.watch("a.>.b").next(), KvInvalidArgumentError);
  });
});

describe("how a watch ends", () => {
  it("quietly with its signal, also while an event is awaited, and closes its connection", async ({
    direct,
    proxied,
    proxy,
  }) => {
    await direct.put("k", "1");
    const controller = new AbortController();
    const seen: string[] = [];
    for await (const event of proxied.watch("k", { signal: controller.signal })) {
      seen.push(line(event));
      setImmediate(() => controller.abort());
    }
    expect(seen).toEqual(["put k=1 @1"]);
    await proxy.untilEmpty();
  });

  it("at once where the signal is aborted already", async ({ proxied, proxy }) => {
    expect(await take(proxied.watch("k", { signal: AbortSignal.abort() }), 1)).toEqual([]);
    expect(proxy.connections).toBe(0);
  });

  it("with the loop, and closes its connection", async ({ direct, proxied, proxy }) => {
    await direct.put("k", "1");
    for await (const event of proxied.watch("k")) {
      expect(event.key).toBe("k");
      break;
    }
    await proxy.untilEmpty();
  });

  it("by return, also while an event is awaited", async ({ proxied, proxy }) => {
    const watch = proxied.watch("k");
    const pending = watch.next();
    await vi.waitUntil(() => proxy.connections > 0, WAIT);
    expect(await watch.return()).toEqual({ done: true, value: undefined });
    expect(await pending).toEqual({ done: true, value: undefined });
    await proxy.untilEmpty();
  });

  it("with KvNotFoundError when the bucket is deleted, or was never there", async ({
    proxied,
    kv,
    direct,
  }) => {
    const watch = proxied.watch(undefined, { marks: true });
    await watch.next();
    await kv.deleteBucket(direct.name);
    await refusal(watch.next(), KvNotFoundError, { reason: "bucket_not_found" });
    await refusal(proxied.watch().next(), KvNotFoundError, { reason: "bucket_not_found" });
    expect(await watch.next()).toEqual({ done: true, value: undefined });
  });

  it("with KvOutOfRangeError for a revision to come", async ({ proxied }) => {
    await refusal(proxied.watch("k", { startRevision: 99 }).next(), KvOutOfRangeError, {
      reason: "revision_in_future",
    });
  });

  it("with the last error after as many failures as were allowed", async ({ proxy, proxied }) => {
    await proxy.refuse();
    await refusal(proxied.watch("k", { failuresMax: 3 }).next(), KvUnavailableError, {
      reason: "connection_failed",
    });
  });
});
