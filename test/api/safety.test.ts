/** Sending a write again, choosing how fresh a read must be, and what happens while the storage is away, through every door. */
import { Code } from "@connectrpc/connect";
import { pino } from "pino";
import { describe, expect } from "vitest";
import { Consistency, Durability, Storage } from "../../gen/ironflow/kv/v1/types_pb.js";
import { startService } from "../../src/embed.js";
import { copiesTest } from "../support/fixtures.js";
import { needsServer } from "../support/nats-program.js";
import { freshName, startTestService } from "../support/service.js";
import { CALL_DOORS } from "./doors.js";
import { bytes, clientsOf, refusal, text } from "./support.js";
import { until } from "../support/until.js";

// Calls that waited would wait for an hour.
const NO_TIME_LIMIT = { "call-timeout-ms": "3600000", "call-timeout-ms-max": "3600000" };
const it = copiesTest(NO_TIME_LIMIT).extend(
  "untilReadinessIs",
  ({ service }) =>
    (status: number): Promise<void> => {
      return until(`/readyz answers ${status}`, async () => {
        return (await fetch(`${service.url}/readyz`)).status === status;
      });
    },
);

describe.each(CALL_DOORS)("over $name", (door) => {
  const test = it.extend("setUp", ({ service }) => async () => {
    const clients = clientsOf(door, service.url);
    const bucket = freshName();
    const created = await clients.buckets.createBucket({ name: bucket, history: 5 });
    return { ...clients, bucket, created };
  });

  test("a write that is sent again with its idempotency key is applied once", async ({ setUp }) => {
    const { kv, bucket } = await setUp();
    const put = { bucket, key: "k", value: bytes("v"), idempotencyKey: "put-1" };
    const remove = { bucket, key: "k", idempotencyKey: "delete-1" };
    expect((await kv.put(put)).revision).toBe(1n);
    expect((await kv.put(put)).revision).toBe(1n);
    await kv.delete(remove);
    await kv.put({ bucket, key: "k", value: bytes("later") });
    await kv.delete(remove);
    expect((await kv.put(put)).revision).toBe(1n);
    expect(text((await kv.get({ bucket, key: "k" })).entry?.value)).toBe("later");
    expect((await kv.getHistory({ bucket, key: "k" })).entries.map((entry) => entry.revision)).toEqual([
      1n,
      2n,
      3n,
    ]);
  });

  test("an idempotency key is good for one request", async ({ setUp }) => {
    const { kv, bucket } = await setUp();
    await kv.put({ bucket, key: "k", value: bytes("v"), idempotencyKey: "once" });
    const detail = await refusal(
      kv.put({ bucket, key: "k", value: bytes("w"), idempotencyKey: "once" }),
      Code.FailedPrecondition,
      "idempotency_key_reused",
    );
    if (door.hasDetails) expect(detail).toMatchObject({ bucket, key: "k", revision: 1n });
    const malformed = kv.delete({ bucket, key: "k", idempotencyKey: "x".repeat(129) });
    await refusal(malformed, Code.InvalidArgument, "invalid_argument");
  });

  test("a bucket says how long it remembers writes, and so does an unknown outcome", async ({
    setUp,
    service,
  }) => {
    const { buckets, kv, bucket } = await setUp();
    const windowMsOf = async (name: string): Promise<number> => {
      if (!door.isWholeContract) {
        const { headers } = await fetch(`${service.url}/api/v1/kv/buckets/${name}`);
        return Number(headers.get("ironflow-idempotency-window-ms"));
      }
      const { idempotencyWindow } = (await buckets.getBucket({ bucket: name })).bucket ?? {};
      return Number(idempotencyWindow?.seconds) * 1_000;
    };
    expect(await windowMsOf(bucket)).toBe(60_000);
    const brief = freshName();
    await buckets.createBucket({ name: brief, ttl: { seconds: 2n } });
    expect(await windowMsOf(brief)).toBe(2_000);
    await kv.put({ bucket: brief, key: "k", value: bytes("v") });
    // The first sending is told to be older than the window, and somebody wrote since.
    const again = { bucket: brief, key: "k", value: bytes("again"), idempotencyKey: "again" };
    if (door.isWholeContract) {
      const late = { headers: { "ironflow-first-attempt-age-ms": "60000" } };
      const detail = await refusal(kv.put(again, late), Code.Unknown, "outcome_unknown");
      expect(detail).toMatchObject({ idempotencyWindow: { seconds: 2n } });
      for (const header of ["ironflow-first-attempt-age-ms", "ironflow-first-attempt-time-ms"]) {
        const malformed = kv.put(again, { headers: { [header]: "1.5" } });
        await refusal(malformed, Code.InvalidArgument, "invalid_argument");
      }
      return;
    }
    const putAged = (age: string): Promise<Response> =>
      fetch(`${service.url}/api/v1/kv/buckets/${brief}/keys/k`, {
        method: "PUT",
        headers: { "idempotency-key": "again", "ironflow-first-attempt-age-ms": age },
        body: "again",
      });
    const late = await putAged("60000");
    expect(late.status).toBe(500);
    expect(late.headers.get("ironflow-idempotency-window-ms")).toBe("2000");
    expect((await putAged("1.5")).status).toBe(400);
  });

  test("a repeated write that names the time of the first is applied once that is known", async ({
    setUp,
    service,
  }) => {
    const { kv, bucket } = await setUp();
    await kv.put({ bucket, key: "other", value: bytes("v") });
    const request = { bucket, key: "k", value: bytes("v"), idempotencyKey: "again" };
    const put = async (timeMs: number): Promise<number> => {
      const header = { "ironflow-first-attempt-time-ms": timeMs.toString() };
      if (door.isWholeContract) {
        if (timeMs > 0) return Number((await kv.put(request, { headers: header })).revision);
        const detail = await refusal(kv.put(request, { headers: header }), Code.Unknown, "outcome_unknown");
        return Number(detail?.storageTime?.seconds) * 1_000;
      }
      const url = `${service.url}/api/v1/kv/buckets/${bucket}/keys/k`;
      const headers = { "idempotency-key": "again", ...header };
      const response = await fetch(url, { method: "PUT", headers, body: "v" });
      if (timeMs > 0) return ((await response.json()) as { revision: number }).revision;
      expect(response.status).toBe(500);
      return Number(response.headers.get("ironflow-storage-time-ms"));
    };
    const storageTimeMs = await put(0);
    expect(Math.abs(storageTimeMs - Date.now())).toBeLessThan(60_000);
    expect(await put(storageTimeMs)).toBe(2);
    expect(await put(storageTimeMs)).toBe(2);
  });

  test("reads take a consistency", async ({ setUp }) => {
    const { kv, bucket } = await setUp();
    await kv.put({ bucket, key: "k", value: bytes("v") });
    for (const consistency of [Consistency.STRONG, Consistency.EVENTUAL]) {
      expect(text((await kv.get({ bucket, key: "k", consistency })).entry?.value)).toBe("v");
      expect(text((await kv.get({ bucket, key: "k", revision: 1n, consistency })).entry?.value)).toBe("v");
      expect((await kv.getHistory({ bucket, key: "k", consistency })).entries).toHaveLength(1);
      expect((await kv.listKeys({ bucket, consistency })).keys).toEqual(["k"]);
    }
    if (!door.isWholeContract) return;
    const outOfRange: unknown = 7;
    await refusal(
      kv.get({ bucket, key: "k", consistency: outOfRange as Consistency }),
      Code.InvalidArgument,
      "invalid_argument",
    );
  });

  test(
    "a bucket says where it is kept, and what its writes survive",
    needsServer("2.15.1"),
    async ({ setUp }) => {
      const { buckets, bucket, created } = await setUp();
      // REST's form of a bucket is fixed.
      if (!door.isWholeContract) return;
      const expected = { replicas: 1, storage: Storage.FILE, durability: Durability.UNKNOWN };
      expect(created.bucket).toMatchObject(expected);
      expect((await buckets.getBucket({ bucket })).bucket).toMatchObject(expected);
    },
  );
});

describe("an outside server", () => {
  /** Starts a service; returns what it says at the level of warnings. */
  async function warningsOf(settings: Record<string, string>): Promise<string[]> {
    const warnings: string[] = [];
    const logger = pino({ level: "warn" }, { write: (line) => void warnings.push(line) });
    const started = await startService({ settings: { port: "0", ...settings }, logger });
    await started.stop();
    return warnings.map((line) => (JSON.parse(line) as { msg: string }).msg);
  }

  it(
    "is warned of in one line, as it may lose acknowledged writes with the power",
    needsServer("2.15.1"),
    async ({ server }) => {
      expect(await warningsOf({ "nats-url": server.url })).toEqual([
        expect.stringMatching(/cannot tell whether .*: unless its sync_interval is always, a power failure/),
      ]);
    },
  );

  it("that is alone is no place for REPLICAS=3", async ({ server }) => {
    await expect(warningsOf({ "nats-url": server.url, replicas: "3" })).rejects.toThrow(/^REPLICAS is 3, /);
  });
});

describe("the embedded server", () => {
  it.each([
    ["safe", Durability.SYNCED],
    ["relaxed", Durability.RELAXED],
  ])("with DURABILITY=%s has buckets that say so", needsServer("2.15.1"), async (mode, durability) => {
    const embedded = await startTestService({ durability: mode });
    const [door] = CALL_DOORS;
    if (door === undefined) throw new Error("no door");
    const { buckets } = clientsOf(door, embedded.url);
    const { bucket } = await buckets.createBucket({ name: "b" });
    expect(bucket).toMatchObject({ storage: Storage.FILE, durability });
    await embedded.remove();
  });
});

describe("while the storage is away", () => {
  const bucket = freshName();

  it("every call through every door is UNAVAILABLE at once, and all goes on when it is back", async ({
    service,
    server,
    untilReadinessIs,
  }) => {
    const clients = CALL_DOORS.map((door) => ({ door, ...clientsOf(door, service.url) }));
    const [first] = clients;
    if (first === undefined) throw new Error("no door");
    await first.buckets.createBucket({ name: bucket, history: 64 });
    await first.kv.put({ bucket, key: "k", value: bytes("v") });
    await server.stop("SIGKILL");
    await untilReadinessIs(503);
    await Promise.all(
      clients.flatMap(({ buckets, kv }) => [
        unavailable(buckets.createBucket({ name: freshName() })),
        unavailable(buckets.getBucket({ bucket })),
        unavailable(buckets.listBuckets({})),
        unavailable(buckets.updateBucket({ bucket, history: 2 })),
        unavailable(buckets.deleteBucket({ bucket })),
        unavailable(kv.get({ bucket, key: "k" })),
        unavailable(kv.get({ bucket, key: "k", consistency: Consistency.EVENTUAL })),
        unavailable(kv.put({ bucket, key: "k", value: bytes("late") })),
        unavailable(kv.put({ bucket, key: "k", value: bytes("late"), idempotencyKey: "late" })),
        unavailable(kv.delete({ bucket, key: "k" })),
        unavailable(kv.listKeys({ bucket })),
        unavailable(kv.getHistory({ bucket, key: "k" })),
      ]),
    );
    await server.start();
    await untilReadinessIs(200);
    for (const { kv } of clients) await kv.put({ bucket, key: "k", value: bytes("back") });
    const { entries } = await first.kv.getHistory({ bucket, key: "k" });
    expect(entries.map((entry) => text(entry.value))).toEqual(["v", ...clients.map(() => "back")]);
  });

  const unavailable = (call: Promise<unknown>): Promise<unknown> =>
    refusal(call, Code.Unavailable, "unavailable");
});
