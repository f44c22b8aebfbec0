/** How a scan reads the values of many keys: in a pass over the stream where they stand close together, else with direct gets. */
import { headers } from "@nats-io/transport-node";
import { expect } from "vitest";
import { streamName, subjectOf } from "../../src/kv/names.js";
import type { Entry } from "../../src/kv/entry.js";
import { storeTest } from "../support/fixtures.js";
import { newBucketName, scope } from "./store-contract.js";
import { openStore } from "./store-support.js";
import { TestBucket } from "./watch-bucket.js";

const it = storeTest();

/** More than are read with direct gets in any case. */
const KEYS = 1_300;
const OVERWRITTEN = [3, 500, 1_000];

it("reads values that stand close together without direct gets, as they were written", async ({
  server,
  connection,
}) => {
  const bucket = await TestBucket.create(connection, newBucketName());
  const keyAt = (index: number): string => `${index % 5 === 0 ? "a" : "b"}.é ${index}`;
  const write = (index: number, value: string): void => {
    const contentType = headers();
    contentType.set("Content-Type", `text/x-${index}`);
    const options = index % 2 === 0 ? { headers: contentType } : {};
    connection.publish(subjectOf(bucket.name, keyAt(index)), value, options);
  };
  for (let index = 0; index < 5 * KEYS; index++) write(index, `of ${index}`);
  for (const index of OVERWRITTEN) write(index, `later of ${index}`);
  await bucket.put("gone", "v");
  await bucket.delete("gone");

  let directGets = 0;
  const count = (): void => {
    directGets++;
  };
  const subscription = connection.subscribe(`$JS.API.DIRECT.GET.${streamName(bucket.name)}`, {
    callback: count,
  });
  const open = await openStore(server.url);
  try {
    const scan = async (prefix: string): Promise<Entry[]> => {
      const entries: Entry[] = [];
      const options = { filters: [], prefix, startKey: "", endKey: "", limit: 0 };
      const flags = { isReverse: false, keysOnly: false, allowNewer: false };
      for await (const part of await open.store.scan(bucket.name, { ...options, ...flags }, scope()))
        for (const entry of part.entries) entries.push({ ...entry, value: Uint8Array.from(entry.value) });
      await connection.flush();
      return entries;
    };
    const all = await scan("");
    expect(directGets).toBe(0);
    const byKey = new Map(all.map((entry) => [entry.key, entry]));
    expect(byKey.size).toBe(5 * KEYS);
    for (let index = 0; index < 5 * KEYS; index++) {
      const entry = byKey.get(keyAt(index));
      const later = OVERWRITTEN.indexOf(index);
      expect(Buffer.from(entry?.value ?? []).toString()).toBe(`${later < 0 ? "" : "later "}of ${index}`);
      expect(entry?.contentType).toBe(index % 2 === 0 ? `text/x-${index}` : "");
      expect(entry?.revision).toBe(BigInt(later < 0 ? index + 1 : 5 * KEYS + 1 + later));
    }
    // A fifth of the messages: a pass would read the others in vain.
    expect(await scan("a")).toEqual(all.filter(({ key }) => key.startsWith("a")));
    expect(directGets).toBeGreaterThan(0);
  } finally {
    subscription.unsubscribe();
    await open.close();
  }
});

it("reads a bucket that fits into memory in one pass, in whatever order its keys were written", async ({
  server,
  connection,
}) => {
  // The keys of the first 8 MiB stand anywhere in the stream: a pass of their own would cost more than direct gets.
  const [count, step] = [12_500, 7_919];
  const bucket = await TestBucket.create(connection, newBucketName());
  const valueOf = (index: number): string => `${index}.`.padEnd(2_048, "v");
  for (let written = 0; written < count; written++) {
    const index = (written * step) % count;
    connection.publish(subjectOf(bucket.name, String(index).padStart(5, "0")), valueOf(index));
    if (written % 2_000 === 0) await connection.flush();
  }
  await bucket.put("later", "v");
  let directGets = 0;
  const subscription = connection.subscribe(`$JS.API.DIRECT.GET.${streamName(bucket.name)}`, {
    callback: () => {
      directGets++;
    },
  });
  const open = await openStore(server.url);
  try {
    const options = { filters: [], prefix: "", startKey: "", endKey: "later", limit: 0 };
    const flags = { isReverse: false, keysOnly: false, allowNewer: false };
    let next = 0;
    for await (const part of await open.store.scan(bucket.name, { ...options, ...flags }, scope()))
      for (const { key, value, revision } of part.entries) {
        expect(key).toBe(String(next).padStart(5, "0"));
        expect(Buffer.from(value).toString()).toBe(valueOf(next));
        expect((BigInt(step) * (revision - 1n)) % BigInt(count)).toBe(BigInt(next));
        next++;
      }
    expect(next).toBe(count);
    await connection.flush();
    expect(directGets).toBe(0);
  } finally {
    subscription.unsubscribe();
    await open.close();
  }
});
