/** Writes of the SDK in a bucket with a short window, whose answers are lost: sent again through another copy, and never applied twice. */
import { describe, expect } from "vitest";
import * as sdk from "@ironflow-kv/client";
import { storeTest } from "../support/fixtures.js";
import { freshName, startTestService, type TestService } from "../support/service.js";
import { until } from "../support/until.js";
import { refusal } from "./support.js";

/** What the network does with a request: sends it on, and returns the answer or throws. */
type Relay = (send: () => Promise<Response>) => Promise<Response>;

const it = storeTest()
  /** Two copies of the service. */
  .extend("services", { scope: "file" }, async ({ server }, { onCleanup }) => {
    const settings = { "nats-url": server.url };
    const services = await Promise.all([startTestService(settings), startTestService(settings)]);
    onCleanup(async () => {
      await Promise.all(services.map((service) => service.remove()));
    });
    return services;
  })
  /** A bucket with a ttl of a second, through the first copy. */
  .extend("direct", async ({ services }): Promise<sdk.Bucket> => {
    const kv = sdk.createClient({ serverUrl: services[0].url }).kv();
    return kv.bucket((await kv.createBucket({ name: freshName(), ttlSeconds: 1 })).name);
  })
  /** Resolves when nothing is stored in the bucket, not even a marker. */
  .extend("untilGone", ({ connection, direct }) => (): Promise<void> => {
    return until("nothing is stored in the bucket", async () => {
      const reply = await connection.request(`$JS.API.STREAM.INFO.KV_APP_${direct.name}`);
      return reply.json<{ state: { messages: number } }>().state.messages === 0;
    });
  })
  .extend(
    "openWith",
    ({ services, direct }) =>
      (relays: readonly Relay[]) =>
        openThrough(relays, services, direct.name),
  );

/** A bucket of a client whose first call goes to the first copy, all others to the second. */
function openThrough(
  relays: readonly Relay[],
  [first, second]: readonly [TestService, TestService],
  bucket: string,
): { bucket: sdk.Bucket; calls: () => number } {
  let calls = 0;
  const fetch: typeof globalThis.fetch = (input, init) => {
    const call = calls++;
    const { pathname } = new URL(input instanceof Request ? input.url : input);
    const url = new URL(pathname, (call === 0 ? first : second).url);
    // What the network holds arrives also where the caller gave up.
    const send = (): Promise<Response> => globalThis.fetch(url, { ...init, signal: null });
    return relays[call]?.(send) ?? send();
  };
  const options = { serverUrl: "http://copies", fetch, retry: { baseDelayMs: 1, attempts: 100 } };
  return { bucket: sdk.createClient(options).kv().bucket(bucket), calls: () => calls };
}

const broken = (): Error => new TypeError("fetch failed", { cause: new Error("the connection was cut") });

/** The request is applied; its answer is lost. */
const loseAnswer: Relay = async (send) => {
  await (await send()).arrayBuffer();
  throw broken();
};

/** Holds a request back until something has happened. */
function holdUntil(happened: () => Promise<unknown>): Relay {
  return async (send) => {
    await happened();
    return send();
  };
}

type Write = (bucket: sdk.Bucket, signal?: AbortSignal) => Promise<sdk.WriteResult>;

const WRITES: [string, Write][] = [
  ["put", (bucket, signal) => bucket.put("k", "mine", { signal })],
  ["create", (bucket, signal) => bucket.create("k", "mine", { signal })],
];

describe.concurrent.each(WRITES)(
  "a write whose answer was lost, in a bucket with a ttl of a second: %s",
  (_, write) => {
    it("is not applied again after the window, over what somebody wrote since", async ({
      direct,
      openWith,
      untilGone,
    }) => {
      const theirs = async (): Promise<void> => {
        await untilGone();
        await direct.put("k", "theirs");
      };
      const { bucket, calls } = openWith([loseAnswer, holdUntil(theirs)]);
      const error = await refusal(write(bucket), sdk.KvUnknownOutcomeError);
      expect(error).toMatchObject({ reason: "outcome_unknown" });
      expect(calls()).toBe(2);
      expect((await direct.tryGet("k"))?.text() ?? "theirs").toBe("theirs");
    });

    it("is not applied again after it had expired", async ({ direct, openWith, untilGone }) => {
      const { bucket, calls } = openWith([loseAnswer, holdUntil(untilGone)]);
      await refusal(write(bucket), sdk.KvUnknownOutcomeError);
      expect(calls()).toBe(2);
      expect(await direct.tryGet("k")).toBeUndefined();
    });

    it("has its result where it is sent again within the window", async ({ openWith, untilGone }) => {
      // A machine that stalls may find that the window is over.
      for (;;) {
        const sentMs = performance.now();
        const { bucket } = openWith([loseAnswer]);
        const done = await write(bucket).catch((error: unknown) => error);
        if (done instanceof sdk.KvUnknownOutcomeError && performance.now() - sentMs > 250) {
          await untilGone();
          continue;
        }
        expect(done).toMatchObject({ revision: expect.any(BigInt) as bigint });
        return;
      }
    });
  },
);

describe.concurrent.each(WRITES)(
  "a write that the network delivers late, after the SDK sent it again: %s",
  (_, write) => {
    /** The first call is held; `deliver` sends it on. */
    function holdFirst(): { relay: Relay; deliver: () => Promise<void> } {
      let deliver = (): Promise<void> => Promise.reject(new Error("nothing was sent"));
      const relay: Relay = (send) => {
        deliver = async () => {
          await (await send()).arrayBuffer();
        };
        return Promise.reject(broken());
      };
      return { relay, deliver: () => deliver() };
    }

    // In an empty bucket nothing can have been applied, at whatever time.
    it.beforeEach(({ direct }) => direct.put("other", "v"));

    it("is applied where the first attempt never arrived", async ({ openWith }) => {
      for (;;) {
        const sentMs = performance.now();
        const { bucket, calls } = openWith([holdFirst().relay]);
        const done = await write(bucket).catch((error: unknown) => error);
        // A machine that stalls may find that the window is over.
        if (done instanceof sdk.KvUnknownOutcomeError && performance.now() - sentMs > 250) continue;
        expect(done).toMatchObject({ revision: expect.any(BigInt) as bigint });
        expect(calls()).toBe(3);
        return;
      }
    });

    it.for(["waits for the answer", "gives up"])(
      "is not applied twice, where the caller %s",
      async (caller, { direct, openWith, untilGone }) => {
        for (;;) {
          const first = holdFirst();
          const aborter = new AbortController();
          let wasDelivered = (): void => undefined;
          const delivered = new Promise<void>((resolve) => (wasDelivered = resolve));
          // The second call learns the storage's time. Then the first one arrives, and the third one when nothing is left of that.
          const holdThird: Relay = async (send) => {
            if (caller === "gives up") aborter.abort(new Error("gave up"));
            await first.deliver();
            await untilGone();
            const response = await send();
            wasDelivered();
            return response;
          };
          const { bucket, calls } = openWith([first.relay, (send) => send(), holdThird]);
          const error = await write(bucket, aborter.signal).catch((thrown: unknown) => thrown);
          // A machine that stalls may find that the window is over.
          if (calls() < 3 && error instanceof sdk.KvUnknownOutcomeError) continue;
          if (caller === "gives up") expect(error).toBe(aborter.signal.reason);
          else expect(error).toBeInstanceOf(sdk.KvUnknownOutcomeError);
          expect(calls()).toBe(3);
          await delivered;
          expect(await direct.tryGet("k")).toBeUndefined();
          return;
        }
      },
    );
  },
);

it("an unknown outcome says how long the bucket remembers the write, and so does the bucket", async ({
  direct,
  services,
}) => {
  await direct.put("k", "theirs");
  const headers = { "ironflow-first-attempt-age-ms": "60000" };
  const kv = sdk.createClient({ serverUrl: services[1].url, headers }).kv();
  const error = await refusal(kv.bucket(direct.name).put("k", "late"), sdk.KvUnknownOutcomeError);
  expect(error).toMatchObject({ idempotencyWindowMs: 1_000, storageTime: expect.any(Date) as Date });
  expect((await kv.getBucketInfo(direct.name)).idempotencyWindowMs).toBe(1_000);
});
