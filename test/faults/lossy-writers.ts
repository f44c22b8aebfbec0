/** Clients that write at random through two copies of the service, lose some of the answers, and remember what they were told. */
import { setTimeout as delay } from "node:timers/promises";
import { createClient as createStub } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { KeyValueService } from "@ironflow-kv/client/gen";
import { createClient, KvError, KvUnknownOutcomeError } from "@ironflow-kv/client";
import { reasonOf } from "./workload.js";

/** A write and what its caller was told. */
export interface ToldWrite {
  readonly bucket: string;
  /** Unique; undefined for a delete. */
  readonly value: string | undefined;
  outcome: "acknowledged" | "refused" | "unknown";
  /** Of an acknowledged write; 0: nothing was deleted. */
  revision: number;
}

export interface LossyWritersOptions {
  /** The copies of the service. */
  readonly urls: readonly [string, string];
  readonly buckets: readonly string[];
  readonly random: (below: number) => number;
}

type Told = Pick<ToldWrite, "outcome" | "revision">;
type Send = (bucket: string, key: string, value: string | undefined) => Promise<Told>;

const KEYS = 3;
const CALL_TIMEOUT_MS = 8_000;
/** One answer in so many is lost. */
const LOST_ANSWERS = 4;
/** Before an attempt after a lost answer: also for longer than the window and an entry's life. */
const PAUSE_MS_MAX = 2_500;
const UNKNOWN: Told = { outcome: "unknown", revision: 0 };
const REFUSED: Told = { outcome: "refused", revision: 0 };
/** What the service says of a write that it does not know, or that it may have begun. */
const UNKNOWN_REASONS: ReadonlySet<string> = new Set(["outcome_unknown", "deadline_exceeded", "canceled"]);

export class LossyWriters {
  readonly writes: ToldWrite[] = [];
  private readonly clients: Promise<void>[] = [];
  private isOver = false;
  private count = 0;

  constructor(private readonly options: LossyWritersOptions) {
    const sends = [
      this.bySdk(),
      this.bySdk(),
      this.bySdk(),
      this.byRest(),
      this.byRest(),
      this.byStub(0),
      this.byStub(1),
    ];
    for (const send of sends) this.clients.push(this.run(send));
  }

  get acknowledged(): number {
    return this.writes.filter(({ outcome }) => outcome === "acknowledged").length;
  }

  /** Ends the clients, each after its last write. */
  async finish(): Promise<void> {
    this.isOver = true;
    await Promise.all(this.clients);
  }

  private async run(send: Send): Promise<void> {
    const { buckets, random } = this.options;
    while (!this.isOver) {
      const bucket = buckets[random(buckets.length)] ?? "";
      const value = random(5) === 0 ? undefined : `v${++this.count}`;
      const write: ToldWrite = { bucket, value, ...UNKNOWN };
      this.writes.push(write);
      Object.assign(write, await send(bucket, `key.${random(KEYS)}`, value));
      await delay(random(20));
    }
  }

  /** The SDK, over a network that loses answers and comes back through the other copy. */
  private bySdk(): Send {
    const { urls, random } = this.options;
    const fetch: typeof globalThis.fetch = async (input, init) => {
      const url = new URL(new URL(input instanceof Request ? input.url : input).pathname, urls[random(2)]);
      const response = await globalThis.fetch(url, init);
      if (random(LOST_ANSWERS) > 0) return response;
      await response.arrayBuffer();
      await delay(random(PAUSE_MS_MAX));
      throw new TypeError("fetch failed", { cause: new Error("the answer was lost") });
    };
    const retry = { attempts: 20, baseDelayMs: 100, maxDelayMs: 500 };
    const kv = createClient({ serverUrl: "http://copies", fetch, retry, timeoutMs: CALL_TIMEOUT_MS }).kv();
    return async (name, key, value) => {
      const bucket = kv.bucket(name);
      const kind = random(3);
      try {
        const write =
          value === undefined
            ? bucket.delete(key)
            : kind === 0
              ? bucket.create(key, value)
              : bucket.put(key, value);
        return { outcome: "acknowledged", revision: Number((await write).revision) };
      } catch (error) {
        if (!(error instanceof KvError)) throw error;
        return error instanceof KvUnknownOutcomeError ? UNKNOWN : REFUSED;
      }
    };
  }

  /** A script that sends a request again, however late, with its idempotency key and its age. */
  private byRest(): Send {
    const { urls, random } = this.options;
    return async (bucket, key, value) => {
      const sinceMs = performance.now();
      const idempotencyKey = `script-${crypto.randomUUID()}`;
      let told = REFUSED;
      for (let attempt = 0; attempt < 4; attempt++) {
        const age: Record<string, string> =
          attempt === 0 ? {} : { "ironflow-first-attempt-age-ms": (performance.now() - sinceMs).toFixed(0) };
        const init: RequestInit = { headers: { "idempotency-key": idempotencyKey, ...age } };
        Object.assign(init, value === undefined ? { method: "DELETE" } : { method: "PUT", body: value });
        const response = await fetch(`${urls[random(2)]}/api/v1/kv/buckets/${bucket}/keys/${key}`, init);
        const body = await response.text();
        const isLost = random(LOST_ANSWERS) === 0;
        if (response.ok && !isLost) {
          const revision = value === undefined ? -1 : (JSON.parse(body) as { revision: number }).revision;
          return { outcome: "acknowledged", revision };
        }
        if (response.ok || UNKNOWN_REASONS.has((JSON.parse(body) as { code: string }).code)) told = UNKNOWN;
        await delay(random(PAUSE_MS_MAX));
      }
      return told;
    };
  }

  /** Calls without an idempotency key: only the service sends them again. */
  private byStub(copy: 0 | 1): Send {
    const transport = createConnectTransport({ httpVersion: "2", baseUrl: this.options.urls[copy] });
    const stub = createStub(KeyValueService, transport);
    return async (bucket, key, value) => {
      const call = { timeoutMs: CALL_TIMEOUT_MS };
      try {
        const { revision } =
          value === undefined
            ? await stub.delete({ bucket, key }, call)
            : await stub.put({ bucket, key, value: Buffer.from(value) }, call);
        return { outcome: "acknowledged", revision: Number(revision) };
      } catch (error) {
        const reason = reasonOf(error);
        return reason === undefined || UNKNOWN_REASONS.has(reason) ? UNKNOWN : REFUSED;
      }
    };
  }
}
