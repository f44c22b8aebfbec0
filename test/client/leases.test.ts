/** Locks and elections of the SDK: one holder at a time, renewed while held, lost loudly. Two clients, and services that come and go. */
import { describe, expect, vi } from "vitest";
import { type Bucket, createClient, KvLeaseLostError, KvTimeoutError, type Lease } from "@ironflow-kv/client";
import { freshName, startTestService } from "../support/service.js";
import { refusal } from "./support.js";
import { WAIT } from "../support/until.js";
import { proxiedTest, RETRY } from "./proxied-test.js";

const it = proxiedTest({ timeoutMs: 2_000 }, 1)
  /** Of two clients; the second one's connection can fail. */
  .extend("first", ({ direct }) => direct)
  .extend("second", ({ proxied }) => proxied);

const aborted = (signal: AbortSignal): Promise<unknown> =>
  new Promise((resolve) => {
    const end = (): void => resolve(signal.reason);
    if (signal.aborted) end();
    else signal.addEventListener("abort", end);
  });

describe("a lock", () => {
  it("has one holder at a time, each with a greater fencing token", async ({ first, second }) => {
    let holders = 0;
    const tokens: bigint[] = [];
    const work = async (bucket: Bucket): Promise<void> => {
      const lock = await bucket.lock("jobs", { ttlSeconds: 5 });
      expect([++holders, lock.isHeld]).toEqual([1, true]);
      tokens.push(lock.fencingToken);
      await first.put("progress", String(tokens.length));
      holders--;
      await lock.release();
      expect([lock.isHeld, lock.signal.aborted]).toEqual([false, false]);
    };
    await Promise.all([first, second, first, second, first, second].map(work));
    expect(tokens).toHaveLength(6);
    expect([...tokens].sort((a, b) => Number(a - b))).toEqual(tokens);
  });

  it("is renewed for longer than its TTL", async ({ first }) => {
    // A machine that stalls for less than that loses no lease.
    const lock = await first.lock("jobs", { ttlSeconds: 4 });
    const { createdAt } = await first.get("jobs");
    await vi.waitFor(async () => {
      const renewed = await first.get("jobs");
      expect(renewed.createdAt.getTime() - createdAt.getTime()).toBeGreaterThan(5_000);
    }, WAIT);
    expect(lock.isHeld).toBe(true);
    await lock.release();
    expect(await first.tryGet("jobs")).toBeUndefined();
  });

  it("is waited for by watching it, and not at all with waitMs 0", async ({ first, second }) => {
    const lock = await first.lock("jobs", { value: "host-1" });
    expect((await second.get("jobs")).text()).toBe("host-1");
    await refusal(second.lock("jobs", { waitMs: 0 }), KvTimeoutError, { reason: "lease_held" });
    await refusal(second.lock("jobs", { waitMs: 50 }), KvTimeoutError, { reason: "lease_held" });
    const waiting = second.lock("jobs");
    await lock.release();
    const next = await waiting;
    expect(next.fencingToken).toBeGreaterThan(lock.fencingToken);
    await next.release();
  });

  it("ends its wait with the signal", async ({ first, second }) => {
    const lock = await first.lock("jobs");
    const controller = new AbortController();
    const waiting = second.lock("jobs", { signal: controller.signal });
    controller.abort(new Error("enough"));
    await expect(waiting).rejects.toThrow("enough");
    await lock.release();
  });

  it("goes to the next client when its holder is cut off, and not before the holder knows", async ({
    second,
    first,
    proxy,
  }) => {
    const lock = await second.lock("jobs", { ttlSeconds: 1 });
    const waiting = first.lock("jobs", { ttlSeconds: 1 });
    await proxy.refuse();
    let next: Lease | undefined;
    void waiting.then((lease) => (next = lease));
    const reason = await aborted(lock.signal);
    expect([next, lock.isHeld]).toEqual([undefined, false]);
    expect(reason).toBeInstanceOf(KvLeaseLostError);
    expect(reason).toMatchObject({ reason: "lease_lost", key: "jobs" });
    const taken = await waiting;
    expect(taken.fencingToken).toBeGreaterThan(lock.fencingToken);
    await taken.release();
    await lock.release();
  });

  it("is lost when its key is deleted", async ({ first, second }) => {
    const lock = await first.lock("jobs", { ttlSeconds: 1 });
    await second.delete("jobs");
    expect(await aborted(lock.signal)).toBeInstanceOf(KvLeaseLostError);
    // The key of the next holder is not touched.
    const next = await second.lock("jobs");
    await lock.release();
    expect(next.isHeld && (await first.tryGet("jobs")) !== undefined).toBe(true);
    await next.release();
  });

  it("stays held where responses to its renewals are lost", async ({ second, first, proxy }) => {
    const lock = await second.lock("jobs", { ttlSeconds: 3 });
    const { revision } = await first.get("jobs");
    proxy.holdAnswers();
    await vi.waitFor(async () => {
      expect((await first.get("jobs")).revision).toBeGreaterThan(revision);
    }, WAIT);
    proxy.cut();
    proxy.passAnswers();
    const { revision: lost } = await first.get("jobs");
    await vi.waitFor(async () => {
      expect((await first.get("jobs")).revision).toBeGreaterThan(lost);
    }, WAIT);
    expect(lock.isHeld).toBe(true);
    await lock.release();
  });

  it("is held when it is returned, also where the first lease ended before its response came", async ({
    proxy,
    second,
    first,
  }) => {
    proxy.holdAnswers();
    const waiting = second.lock("jobs", { ttlSeconds: 1 });
    await vi.waitFor(async () => expect(await first.tryGet("jobs")).toBeDefined(), WAIT);
    await vi.waitFor(async () => expect(await first.tryGet("jobs")).toBeUndefined(), WAIT);
    proxy.cut();
    proxy.passAnswers();
    const lock = await waiting;
    expect(lock.isHeld).toBe(true);
    expect((await first.get("jobs")).revision).toBe(lock.fencingToken);
    await lock.release();
  });

  it("needs a history of 1", async ({ kv, first }) => {
    const { name } = await kv.createBucket({ name: freshName(), history: 2 });
    await expect(kv.bucket(name).lock("jobs")).rejects.toMatchObject({ reason: "ttl_not_supported" });
    await expect(first.lock("jobs", { ttlSeconds: 0 })).rejects.toThrow("ttlSeconds is 0; it must be 1 to");
  });
});

describe("an election", () => {
  it("has one leader, whom others can read, and the next one when it resigns", async ({ first, second }) => {
    const leader = await first.elect("leader", { value: { host: "one" } });
    expect((await second.get("leader")).json()).toEqual({ host: "one" });
    const next = second.elect("leader", { value: { host: "two" } });
    await leader.release();
    expect((await next).isHeld).toBe(true);
    expect((await first.get("leader")).json()).toEqual({ host: "two" });
    await (await next).release();
  });

  it("keeps its leader, or loses it loudly, while the service restarts", async ({ kv }) => {
    const { name } = await kv.createBucket({ name: freshName() });
    const restarted = await startTestService();
    const clients = [1, 2].map(() => createClient({ serverUrl: restarted.url, retry: RETRY }).kv());
    await clients[0]?.createBucket({ name });
    const [one, two] = clients.map((client) => client.bucket(name));
    const leader = await (one as Bucket).elect("leader", { ttlSeconds: 2 });
    const next = (two as Bucket)
      .elect("leader", { ttlSeconds: 2 })
      .then((lease) => ({ lease, isSecond: leader.isHeld }));
    // Only a client that waits already outlasts a restart.
    await expect
      .poll(async () => await (await fetch(`${restarted.url}/metrics`)).text(), WAIT)
      .toMatch(/^ironflow_watches(\{[^}]*\})? 1$/m);
    await restarted.stop();
    const again = await startTestService({ "data-dir": restarted.dataDir, port: String(restarted.port) });
    // Whichever comes first: it is renewed, or it is lost.
    await Promise.race([
      aborted(leader.signal),
      vi.waitFor(async () => {
        const revision = (await (one as Bucket).tryGet("leader"))?.revision ?? 0n;
        expect(revision).toBeGreaterThan(leader.fencingToken);
      }, WAIT),
    ]);
    await leader.release();
    const { lease, isSecond } = await next;
    expect(isSecond).toBe(false);
    expect(lease.fencingToken).toBeGreaterThan(leader.fencingToken);
    await lease.release();
    await again.remove();
  });
});
