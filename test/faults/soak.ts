/** Everything that clients do, mixed, for a long time; each client checks what it reads of its own keys. */
import { once } from "node:events";
import { type Client, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { BucketService, KeyValueService } from "@ironflow-kv/client/gen";
import { send1 } from "../support/http-client.js";
import { open1 } from "../support/sse-client.js";
import { WatchClient } from "../support/watch-client.js";
import { randomFrom } from "./workload.js";

const BUCKET = "soak";
const CLIENTS = 12;
const KEYS_PER_CLIENT = 20;

type Random = (below: number) => number;
type KeyValue = Client<typeof KeyValueService>;
type Buckets = Client<typeof BucketService>;

export class MixedLoad {
  calls = 0;
  /** Reads that did not give what the key's only writer wrote last. */
  wrong = 0;
  private readonly keyValue: KeyValue;
  private readonly buckets: Buckets;
  private readonly written = new Map<string, { readonly revision: bigint; readonly value: string }>();
  private readonly randoms: readonly Random[];
  private made = 0;

  constructor(
    private readonly url: string,
    seed: number,
  ) {
    const transport = createGrpcTransport({ baseUrl: url });
    this.keyValue = createClient(KeyValueService, transport);
    this.buckets = createClient(BucketService, transport);
    this.randoms = Array.from({ length: CLIENTS }, (_, client) => randomFrom(seed * 100 + client + 1));
  }

  async prepare(): Promise<void> {
    await this.buckets.createBucket({ name: BUCKET, history: 3 });
  }

  /** Works for so long; resolves when every call and watch of it is over. */
  async run(timeMs: number): Promise<void> {
    const untilMs = performance.now() + timeMs;
    await Promise.all(
      this.randoms.map(async (random, client) => {
        while (performance.now() < untilMs) await this.act(client, random);
      }),
    );
  }

  private async act(client: number, random: Random): Promise<void> {
    this.calls++;
    const key = `client.${client}.${random(KEYS_PER_CLIENT)}`;
    const kind = random(100);
    if (kind < 30) return this.put(key, random);
    if (kind < 60) return this.check(key);
    if (kind < 70) return this.putByRest(key, random);
    if (kind < 80) return this.checkByRest(key);
    if (kind < 85) return this.forget(key, random);
    if (kind < 92) return this.list(key);
    if (kind < 95) return this.watch(random);
    if (kind < 97) return this.watchByWebSocket();
    if (kind < 99) return this.watchByEvents();
    return this.passingBucket();
  }

  private async put(key: string, random: Random): Promise<void> {
    const value = String(random(1 << 30)).repeat(1 + random(500));
    const known = this.written.get(key);
    const isConditional = known !== undefined && random(2) === 0;
    const { revision } = await this.keyValue.put({
      ...{ bucket: BUCKET, key, value: Buffer.from(value) },
      ...(isConditional
        ? { precondition: { condition: { case: "ifRevision" as const, value: known.revision } } }
        : {}),
    });
    this.written.set(key, { revision, value });
  }

  private async putByRest(key: string, random: Random): Promise<void> {
    const value = String(random(1 << 30));
    const answer = await send1(this.url, "PUT", this.pathOf(key), { body: value });
    this.written.set(key, { revision: BigInt((answer.json as { revision: string }).revision), value });
  }

  private async check(key: string): Promise<void> {
    const known = this.written.get(key);
    const answer = await this.keyValue.get({ bucket: BUCKET, key }).catch(() => undefined);
    const isRight =
      answer?.entry?.revision === known?.revision &&
      (known === undefined || Buffer.from(answer?.entry?.value ?? []).toString() === known.value);
    if (!isRight) this.wrong++;
  }

  private async checkByRest(key: string): Promise<void> {
    const { status } = await send1(this.url, "GET", this.pathOf(key));
    if (status !== (this.written.has(key) ? 200 : 404)) this.wrong++;
  }

  private async forget(key: string, random: Random): Promise<void> {
    if (!this.written.has(key)) return;
    await this.keyValue.delete({ bucket: BUCKET, key, purge: random(2) === 0 });
    this.written.delete(key);
  }

  private async list(key: string): Promise<void> {
    const { keys } = await this.keyValue.listKeys({ bucket: BUCKET, filters: [key] });
    const { entries } = await this.keyValue
      .getHistory({ bucket: BUCKET, key })
      .catch(() => ({ entries: [] }));
    const known = this.written.get(key);
    if (keys.length !== (known === undefined ? 0 : 1)) this.wrong++;
    if (known !== undefined && entries.at(-1)?.revision !== known.revision) this.wrong++;
  }

  private async watch(random: Random): Promise<void> {
    const giveUp = new AbortController();
    let left = 1 + random(50);
    try {
      for await (const { event } of this.keyValue.watch({ bucket: BUCKET }, { signal: giveUp.signal }))
        if (event.case !== "change" || --left === 0) break;
    } finally {
      giveUp.abort();
    }
  }

  private async watchByWebSocket(): Promise<void> {
    const client = await WatchClient.open(this.url, `/api/v1/kv/buckets/${BUCKET}/watch`);
    await client.have(1);
    client.socket.close();
    await client.untilClosed();
  }

  private async watchByEvents(): Promise<void> {
    const events = await open1(this.url, `/api/v1/kv/buckets/${BUCKET}/watch`);
    await once(events.body, "data");
    events.leave();
  }

  private async passingBucket(): Promise<void> {
    const name = `passing-${++this.made}`;
    await this.buckets.createBucket({ name, ttl: { seconds: 60n } });
    await this.keyValue.put({ bucket: name, key: "k", value: Buffer.from("v") });
    await this.buckets.deleteBucket({ bucket: name });
  }

  private pathOf(key: string): string {
    return `/api/v1/kv/buckets/${BUCKET}/keys/${key}`;
  }
}
