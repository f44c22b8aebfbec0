/** Watches of the SDK through connections and services that come and go. */
import { describe, expect, vi } from "vitest";
import { type ChangeEvent, createClient, type KvError, KvOutOfRangeError } from "@ironflow-kv/client";
import { freshName, startTestService } from "../support/service.js";
import { contents, line, refusal, take } from "./support.js";
import { WAIT } from "../support/until.js";
import { proxiedTest } from "./proxied-test.js";

const it = proxiedTest().extend(
  "fill",
  ({ direct }) =>
    async (count: number, value: string, start = 0): Promise<void> => {
      const numbers = Array.from({ length: count }, (_, index) => start + index);
      await Promise.all(numbers.map((number) => direct.put(`k.${number}`, value)));
    },
);

describe("how a watch resumes", () => {
  it("misses, duplicates and reorders nothing while its connection is cut again and again", async ({
    proxied,
    proxy,
    fill,
  }) => {
    const count = 400;
    const revisions: bigint[] = [];
    const watching = (async () => {
      for await (const event of proxied.watch("k.*", { progressIntervalMs: 100 })) {
        revisions.push(event.revision);
        if (revisions.length % 60 === 0) proxy.cut();
        if (event.revision === BigInt(count)) break;
      }
    })();
    for (let start = 0; start < count; start += 20) await fill(20, "x", start);
    await watching;
    expect(revisions).toEqual(Array.from({ length: count }, (_, index) => BigInt(index + 1)));
  });

  it("completes a snapshot that was cut off in the middle, with the deletes that came meanwhile", async ({
    fill,
    proxy,
    proxied,
    direct,
  }) => {
    const value = "x".repeat(20_000);
    await fill(100, value);
    const mirror = new Map<string, string>();
    let isCut = false;
    proxy.holdAnswers(500_000);
    for await (const event of proxied.watch("k.*", { marks: true })) {
      if (event.type === "snapshot_end") break;
      if (event.type === "progress") continue;
      if (event.type === "put") mirror.set(event.key, event.text());
      else mirror.delete(event.key);
      if (isCut || mirror.size < 20) continue;
      isCut = true;
      await proxy.refuse();
      proxy.passAnswers();
      await direct.delete("k.0");
      await direct.delete("k.99");
      await direct.put("k.1", "new");
      await direct.put("k.98", "new");
      await proxy.accept();
    }
    expect(mirror).toEqual(await contents(direct));
    expect(mirror.size).toBe(98);
  });

  it("knows where now was, even if the connection broke before the first change", async ({
    direct,
    proxied,
    proxy,
  }) => {
    await direct.put("k", "before");
    const interrupted = vi.fn<(error: KvError) => void>();
    const watch = proxied.watch("k", { start: "now", marks: true, onInterrupted: interrupted });
    expect((await watch.next()).value).toMatchObject({ type: "snapshot_end", revision: 1n });
    const pending = watch.next();
    await proxy.refuse();
    await direct.put("k", "meanwhile");
    await proxy.accept();
    expect(line((await pending).value as ChangeEvent)).toBe("put k=meanwhile @2");
    // The resumed stream has an end of its catch-up, which is not the watch's snapshot_end.
    await direct.put("k", "after");
    expect(line((await watch.next()).value as ChangeEvent)).toBe("put k=after @3");
    await watch.return();
    expect(interrupted.mock.calls[0]?.[0]).toMatchObject({ retryable: true });
  });

  it("reconnects when the service sends no progress event in time", async ({ direct, proxied, proxy }) => {
    await direct.put("k", "1");
    const interrupted = vi.fn<(error: KvError) => void>();
    const watch = proxied.watch("k", { progressIntervalMs: 100, onInterrupted: interrupted });
    await watch.next();
    const pending = watch.next();
    proxy.holdAnswers();
    await direct.put("k", "2");
    await vi.waitUntil(() => interrupted.mock.calls.length > 0, WAIT);
    proxy.passAnswers();
    expect(line((await pending).value as ChangeEvent)).toBe("put k=2 @2");
    await watch.return();
    expect(interrupted.mock.calls[0]?.[0].message).toMatch(/no progress event in time/);
  });

  it.for<[string, number]>([
    ["after the snapshot", 1],
    ["in the middle of the snapshot", 100],
  ])("refuses a recreated bucket, %s", async ([, keys], { fill, proxy, proxied, kv, direct }) => {
    const value = "x".repeat(20_000);
    await fill(keys, value);
    // One key and the end of the snapshot pass, or some of 100 keys and not the end.
    proxy.holdAnswers(500_000);
    const watch = proxied.watch("k.*", { marks: true });
    await watch.next();
    if (keys === 1) await watch.next();
    await proxy.refuse();
    proxy.passAnswers();
    await kv.deleteBucket(direct.name);
    await kv.createBucket({ name: direct.name });
    await fill(keys, value);
    await direct.put("k.0", "new");
    await proxy.accept();
    const drained = (async () => {
      for await (const event of watch) expect(event.revision).toBeLessThanOrEqual(BigInt(keys));
    })();
    await refusal(drained, KvOutOfRangeError);
  });

  it("resumes where an earlier run of the program stopped", async ({ direct, proxied }) => {
    await direct.put("k", "1");
    const marks = proxied.watch("k", { marks: true });
    await marks.next();
    const end = (await marks.next()).value;
    await marks.return();
    if (end?.type !== "snapshot_end") throw new Error("no end of the snapshot");
    await direct.put("k", "2");
    const options = { startRevision: end.revision + 1n, bucketCreatedAt: end.bucketCreatedAt };
    expect(await take(proxied.watch("k", options), 1)).toEqual(["put k=2 @2"]);
    const made = new Date(end.bucketCreatedAt.getTime() - 1_000);
    await refusal(proxied.watch("k", { ...options, bucketCreatedAt: made }).next(), KvOutOfRangeError);
  });
});

describe("a restart of the service", () => {
  it("goes unnoticed by watches, reads and writes", async () => {
    let own = await startTestService();
    const { port, dataDir } = own;
    const retry = { baseDelayMs: 20, maxDelayMs: 200, attempts: 1_000 };
    const client = createClient({ serverUrl: own.url, retry, timeoutMs: 25_000 }).kv();
    const bucket = client.bucket((await client.createBucket({ name: freshName() })).name);
    await bucket.put("k", "0");
    const interrupted = vi.fn<(error: KvError) => void>();
    const watch = bucket.watch("k", { onInterrupted: interrupted });
    await watch.next();
    const pending = watch.next();
    await own.stop();
    await vi.waitUntil(() => interrupted.mock.calls.length > 1, WAIT);
    const write = bucket.put("k", "1");
    const read = bucket.get("k");
    own = await startTestService({ "data-dir": dataDir, port: String(port) });
    await write;
    expect(["0", "1"]).toContain((await read).text());
    expect(line((await pending).value as ChangeEvent)).toBe("put k=1 @2");
    await watch.return();
    expect(interrupted.mock.calls[0]?.[0]).toMatchObject({ code: "unavailable", retryable: true });
    await own.remove();
  });
});
