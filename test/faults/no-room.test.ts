/** No room: a full bucket, too large a value, no more consumers. The documented error each time, reads go on, and what was acknowledged stays. */
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "../support/nats-connection.js";
import { type Client, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BucketService, WatchRequest_Start, type WatchResponse } from "@ironflow-kv/client/gen";
import { startNatsServer } from "../support/nats-server.js";
import { type Deployment, deploy } from "./deployment.js";
import { report } from "./report.js";
import { reasonOf, type Service, serviceAt } from "./workload.js";

const KIB = 1_024;

let service: Deployment;
let buckets: Client<typeof BucketService>;
let keys: Service;

function open(): void {
  buckets = createClient(BucketService, createGrpcTransport({ baseUrl: service.url }));
  keys = serviceAt(service.url);
}

/** Writes until it is refused; gives the reason, and what was acknowledged. */
async function fill(
  bucket: string,
  valueBytes: number,
): Promise<{ reason: string | undefined; acknowledged: string[] }> {
  const acknowledged: string[] = [];
  for (let count = 0; ; count++) {
    try {
      await keys.put({ bucket, key: `k${count}`, value: Buffer.alloc(valueBytes, `${count} `) });
      acknowledged.push(`k${count}`);
    } catch (error) {
      return { reason: reasonOf(error), acknowledged };
    }
  }
}

/** How many of these are not there with the value that was written. */
async function countLost(
  bucket: string,
  acknowledged: readonly string[],
  valueBytes: number,
): Promise<number> {
  let lost = 0;
  for (const [count, key] of acknowledged.entries()) {
    const { entry } = await keys.get({ bucket, key });
    if (!Buffer.alloc(valueBytes, `${count} `).equals(entry?.value ?? Buffer.alloc(0))) lost++;
  }
  return lost;
}

describe("a full bucket, and values that are too large", () => {
  beforeAll(async () => {
    service = await deploy({ DURABILITY: "relaxed" });
    open();
  });
  afterAll(() => service.remove());

  it("refuses with bucket_full, keeps all that was acknowledged, and accepts writes again after a purge", async () => {
    await buckets.createBucket({ name: "small", maxBytes: BigInt(256 * KIB) });
    const { reason, acknowledged } = await fill("small", 4 * KIB);
    const lost = await countLost("small", acknowledged, 4 * KIB);
    report("bucket full", undefined, `${reason} after ${acknowledged.length} writes`, `lost ${lost}`);
    expect({ reason, lost }).toEqual({ reason: "bucket_full", lost: 0 });
    await keys.delete({ bucket: "small", key: "k0", purge: true });
    await keys.put({ bucket: "small", key: "again", value: Buffer.alloc(KIB) });
  });

  it("refuses with value_too_large, and keeps the value before", async () => {
    await buckets.createBucket({ name: "narrow", maxValueSize: 1_000 });
    await keys.put({ bucket: "narrow", key: "k", value: Buffer.from("before") });
    for (const bytes of [1_001, 100_000, 1_048_577]) {
      const refusal: unknown = await keys
        .put({ bucket: "narrow", key: "k", value: Buffer.alloc(bytes) })
        .then(
          () => undefined,
          (error: unknown) => error,
        );
      expect(reasonOf(refusal)).toBe("value_too_large");
    }
    const { entry } = await keys.get({ bucket: "narrow", key: "k" });
    expect(Buffer.from(entry?.value ?? []).toString()).toBe("before");
  });
});

describe("an account that may have one consumer on a stream", () => {
  it("refuses with storage_exhausted a watch that needs a consumer while another program has it, and serves it afterwards", async () => {
    const user = "someone";
    const nats = await startNatsServer({
      config: `accounts { A { jetstream { max_consumers: 1 }, users [{ user: ${user}, password: ${user} }] } }`,
    });
    service = await deploy({ NATS_URL: nats.url.replace("://", `://${user}:${user}@`) });
    open();
    const connection = await connect({ servers: nats.url, user, pass: user });
    const { consumers } = await jetstreamManager(connection);
    const leave = new AbortController();
    const watch = async (start: WatchRequest_Start): Promise<unknown> => {
      const events = keys.watch({ bucket: "watched", start }, { signal: leave.signal });
      const { value } = (await events[Symbol.asyncIterator]().next()) as { value?: WatchResponse };
      return value?.event.case;
    };
    try {
      await buckets.createBucket({ name: "watched", history: 5 });
      for (const value of ["1", "2"])
        await keys.put({ bucket: "watched", key: "k", value: Buffer.from(value) });
      expect(await watch(WatchRequest_Start.SNAPSHOT)).toBe("change");
      await consumers.add("KV_APP_watched", { durable_name: "theirs" });
      const refusal = await watch(WatchRequest_Start.HISTORY).catch(reasonOf);
      report("no more consumers", undefined, String(refusal));
      expect(refusal).toBe("storage_exhausted");
      await consumers.delete("KV_APP_watched", "theirs");
      expect(await watch(WatchRequest_Start.HISTORY)).toBe("change");
      expect(await watch(WatchRequest_Start.SNAPSHOT)).toBe("change");
      await keys.put({ bucket: "watched", key: "k", value: Buffer.from("3") });
      expect((await keys.get({ bucket: "watched", key: "k" })).entry?.revision).toBe(3n);
    } finally {
      leave.abort();
      await connection.close();
      await service.remove();
      await nats.remove();
    }
  }, 120_000);
});
