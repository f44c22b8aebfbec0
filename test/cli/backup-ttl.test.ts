/** Export and import of entries with a TTL of their own and metadata. */
import { join } from "node:path";
import { expect, vi } from "vitest";
import { freshName } from "../support/service.js";
import { WAIT } from "../support/until.js";
import { run } from "./support.js";
import { backupTest } from "./backup-test.js";

const METADATA = { author: "Ann", note: "grüße" };

const it = backupTest();

it("restores what still lives until the same time, and not what has expired", async ({ kv, folder, env }) => {
  const { name } = await kv.createBucket({ name: freshName() });
  const bucket = kv.bucket(name);
  await bucket.put("gone", "1", { ttlSeconds: 1 });
  await bucket.put("lives", "2", { ttlSeconds: 600, metadata: METADATA });
  await bucket.put("stays", "3", { metadata: METADATA });
  const { expiresAt } = await bucket.get("lives");
  const file = join(folder, "backup");
  expect(await run(["export", "--output", file, name], { env })).toMatchObject({ exitCode: 0 });
  await vi.waitFor(async () => expect(await bucket.tryGet("gone")).toBeUndefined(), WAIT);
  await kv.deleteBucket(name);
  expect(await run(["import", file], { env })).toMatchObject({ exitCode: 0 });
  expect(await bucket.listKeys()).toEqual(["lives", "stays"]);
  const lives = await bucket.get("lives");
  expect([lives.text(), lives.metadata]).toEqual(["2", METADATA]);
  expect(Math.abs((lives.expiresAt?.getTime() ?? 0) - (expiresAt?.getTime() ?? 0))).toBeLessThan(60_000);
  expect((await bucket.get("stays")).metadata).toEqual(METADATA);
});
