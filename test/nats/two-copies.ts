/** Two copies of the service that share a bucket: one over a link that can fail, one that is always connected. */
import { KvError } from "../../src/kv/errors.js";
import type { BucketConfig } from "../../src/kv/bucket.js";
import type { Store } from "../../src/kv/store.js";
import type { WriteOptions } from "../../src/kv/writes.js";
import { succeeds, until } from "../support/until.js";
import { storeTest, type StoreTestOptions } from "../support/fixtures.js";
import type { FaultyLink } from "./faulty-link.js";
import { bytes, scope, text } from "./store-contract.js";
import type { OpenStore } from "./store-support.js";

export const twoCopiesTest = (options: StoreTestOptions = {}) =>
  storeTest(options).extend(
    "copies",
    ({ faulty, open, link, bucket }) => new TwoCopies(faulty, open, link, bucket),
  );

/** An idempotency key, for writes that are sent more than once. */
export const KEY: WriteOptions = { idempotencyKey: "5f0c9a52-2f0f-4a06-9d3b-6c4a1f1f7a55" };

export class TwoCopies {
  constructor(
    readonly faulty: OpenStore,
    readonly sound: OpenStore,
    readonly link: FaultyLink,
    readonly bucket: string,
  ) {}

  create(config: Omit<BucketConfig, "name"> = {}): Promise<unknown> {
    return this.sound.store.createBucket({ ...config, name: this.bucket }, scope());
  }

  /** Writes the key `k`. */
  put(store: Store, value: string, options: WriteOptions = {}, within = scope()): Promise<bigint> {
    return store.put(this.bucket, "k", bytes(value), options, within);
  }

  /** Another client's write of the key `k`. */
  theirs(): Promise<bigint> {
    return this.put(this.sound.store, "theirs");
  }

  /** The value of the key `k`, or the kind of the refusal. */
  async read(): Promise<string> {
    try {
      return text((await this.sound.store.get(this.bucket, "k", 0n, scope())).value);
    } catch (error) {
      if (error instanceof KvError) return error.kind;
      throw error;
    }
  }

  /** The newest revision of the bucket. */
  async newest(): Promise<bigint> {
    return (await this.sound.store.getBucket(this.bucket, scope())).revision;
  }

  /** Resolves when the bucket has a revision after this one, with the next: an entry that expires at once is not missed. */
  async untilStored(after = 0n): Promise<bigint> {
    await until("the key has an entry", async () => (await this.newest()) > after);
    return after + 1n;
  }

  /** Resolves when the bucket stores nothing, not even a marker. */
  untilGone(): Promise<void> {
    return until("the bucket stores nothing", async () => {
      const reply = await this.sound.connection.request(`$JS.API.STREAM.INFO.KV_APP_${this.bucket}`);
      return reply.json<{ state: { messages: number } }>().state.messages === 0;
    });
  }

  /** Resolves when both copies are connected. */
  async untilConnected(): Promise<void> {
    for (const { store } of [this.faulty, this.sound])
      await until("the copy is connected", () => succeeds(store.ping(scope(1_000))));
  }

  /** Ends the connections of the faulty copy, and refuses new ones. */
  disconnect(): Promise<void> {
    this.link.isDown = true;
    this.link.cut();
    return until("the copy is disconnected", () => !this.faulty.link.isConnected);
  }
}
