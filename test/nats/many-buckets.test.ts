/** Lists of so many buckets that the storage is asked for all of them together. */
import { expect } from "vitest";
import type { BucketInfo } from "../../src/kv/bucket.js";
import { storeTest } from "../support/fixtures.js";
import { bytes, newBucketName, scope } from "./store-contract.js";

const it = storeTest();
/** More than one page of the storage's list. */
const COUNT = 300;

it("describe each bucket as it is described alone, and see writes that were acknowledged before", async ({
  store,
}) => {
  const prefix = newBucketName();
  const names = Array.from({ length: COUNT }, (_, n) => `${prefix}-${String(n).padStart(3, "0")}`);
  await Promise.all(names.map((name) => store.createBucket({ name }, scope())));
  const list = async (): Promise<readonly BucketInfo[]> => {
    const isMine = (name: string): boolean => name.startsWith(prefix);
    return (await store.listBuckets({ limit: 0, pageToken: "" }, scope(), isMine)).items;
  };
  expect((await list()).map(({ name }) => name)).toEqual(names);
  for (const step of [1, 2, 3]) {
    const changed = names.filter((_, n) => n % 7 === step);
    await Promise.all(changed.map((name) => store.put(name, `k.${step}`, bytes("v"), {}, scope())));
    await store.deleteBucket(names.pop() as string, scope());
    const listed = await list();
    expect(listed.map(({ name }) => name)).toEqual(names);
    expect(listed.filter(({ values }) => values > 0)).toHaveLength(
      names.filter((_, n) => n % 7 >= 1 && n % 7 <= step).length,
    );
    for (const info of listed.slice(0, 8)) expect(await store.getBucket(info.name, scope())).toEqual(info);
  }
});
