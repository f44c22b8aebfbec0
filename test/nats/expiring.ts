/** What tests of entries that expire share. */
import { jetstream } from "@nats-io/jetstream";
import { headers, type NatsConnection } from "@nats-io/transport-node";
import { expect } from "vitest";
import { subjectOf } from "../../src/kv/names.js";
import type { Store } from "../../src/kv/store.js";
import type { Watcher } from "../../src/nats/watch/watcher.js";
import type { TestNatsServer } from "../support/nats-server.js";
import { expectRefusal, scope } from "./store-contract.js";
import { type OpenStore, untilConnected } from "./store-support.js";
import { read, tick } from "./watching.js";

/** The shortest that buckets and entries may have. */
export const TTL_MS = 1_000;

/** Publishes as another program does. */
export async function publish(
  connection: NatsConnection,
  bucket: string,
  key: string,
  value: string,
  fields: Readonly<Record<string, string>>,
): Promise<void> {
  const block = headers();
  for (const [name, field] of Object.entries(fields)) block.set(name, field);
  await jetstream(connection).publish(subjectOf(bucket, key), value, { headers: block });
}

/** Restarts the server when what was written before is past its lifetime. */
export async function restartAfterTtl(
  server: TestNatsServer,
  open: OpenStore,
  signal: "SIGKILL" | "SIGTERM" = "SIGKILL",
): Promise<void> {
  const overMs = Date.now() + TTL_MS;
  await server.stop(signal);
  while (Date.now() <= overMs) await tick();
  await server.start();
  await untilConnected(open);
}

/** Checks that a bucket has no live key, and that a key has no value. */
export async function expectGone(store: Store, bucket: string, key: string): Promise<void> {
  await expectRefusal(store.get(bucket, key, 0n, scope()), "key_not_found");
  expect((await store.listKeys(bucket, [], { limit: 0, pageToken: "" }, scope())).items).toEqual([]);
  expect((await store.getBucket(bucket, scope())).values).toBe(0);
}

/** Lines of a watch's events up to and with the first that begins so. */
export async function readUntil(watcher: Watcher, prefix: string): Promise<string[]> {
  for (const lines: string[] = []; ;) {
    const [next = ""] = await read(watcher, 1);
    lines.push(next);
    if (next.startsWith(prefix)) return lines;
  }
}
