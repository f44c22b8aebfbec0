/** Exports and imports that are interrupted and resumed. */
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { describe, expect } from "vitest";
import { CuttableProxy } from "../client/cuttable-proxy.js";
import { freshName } from "../support/service.js";
import { contentsOf, fill, isSameBackup, numbered } from "./backup-support.js";
import { runBuilt, start } from "./support.js";
import { IS_EXTENDED } from "../support/extended.js";
import { until } from "../support/until.js";
import { backupTest } from "./backup-test.js";

const ENTRIES = 4_000;

const it = backupTest()
  .extend("exported", { scope: "file" }, async ({ folder, env, kv }) => {
    const file = join(folder, "backup");
    const { name: bucket } = await kv.createBucket({ name: freshName(), history: 2 });
    await fill(kv, bucket, numbered(ENTRIES, 250));
    const before = await contentsOf(kv, bucket);
    expect(await runBuilt(["export", "--output", file], { env })).toMatchObject({ exitCode: 0 });
    return { file, bucket, before };
  })
  .extend("whole", { scope: "file" }, ({ exported }) => exported.file)
  .extend("bucket", { scope: "file" }, ({ exported }) => exported.bucket)
  .extend("before", { scope: "file" }, ({ exported }) => exported.before)
  /** Resolves when the import has written so many entries. */
  .extend("untilWritten", ({ kv, bucket }) => (count: number): Promise<void> => {
    return until(`${count} entries are written`, async () => {
      const info = await kv.getBucketInfo(bucket).catch(() => undefined);
      return info !== undefined && info.revision >= BigInt(count);
    });
  });

describe("an export", () => {
  it.for(["SIGINT", "SIGKILL"] as const)(
    "that %s ends resumes where it stopped",
    async (signal, { service, folder, env, whole }) => {
      const proxy = await CuttableProxy.to(service);
      // The answers stop in the middle of the entries: that is where it is when the signal comes.
      proxy.holdAnswers(700_000);
      const part = join(folder, signal);
      const child = start(["export", "--output", part], { IRONFLOW_SERVER: proxy.url });
      const exited = once(child, "exit");
      const said = text(child.stderr);
      // All that passes has been written, but for what waits for more.
      await expect
        .poll(async () => (await readFile(`${part}.partial`).catch(() => Buffer.alloc(0))).length)
        .toBeGreaterThan(400_000);
      child.kill(signal);
      expect(await exited).toEqual(signal === "SIGINT" ? [130, null] : [null, "SIGKILL"]);
      const words = `ironflow-kv: Interrupted. The data read so far is kept; resume with: ironflow-kv export --output ${part} --resume\n`;
      expect(await said).toBe(signal === "SIGINT" ? words : "");
      await proxy.refuse();
      await expect(readFile(part)).rejects.toThrow(/ENOENT/);

      const resumed = await runBuilt(["export", "--output", part, "--resume"], { env });
      expect(resumed).toMatchObject({ exitCode: 0, stderr: "" });
      expect(isSameBackup(await readFile(part), await readFile(whole))).toBe(true);
    },
  );

  it("resumes by itself when the connection breaks", async ({ service, folder, whole }) => {
    const proxy = await CuttableProxy.to(service);
    const part = join(folder, "cut");
    for (const passing of IS_EXTENDED ? [100_000, 500_000, 900_000] : [500_000]) {
      proxy.holdAnswers(passing);
      const exporting = runBuilt(["export", "--output", part, "--force"], {
        env: { IRONFLOW_SERVER: proxy.url },
      });
      await expect
        .poll(async () => (await readFile(`${part}.partial`).catch(() => Buffer.alloc(0))).length)
        .toBeGreaterThan(0);
      proxy.passAnswers();
      proxy.cut();
      expect(await exporting).toMatchObject({ exitCode: 0 });
      expect(isSameBackup(await readFile(part), await readFile(whole))).toBe(true);
    }
    await proxy.refuse();
  });
});

describe("an import", () => {
  it.for(["SIGINT", "SIGKILL"] as const)(
    "that %s ends resumes where it stopped, and duplicates nothing",
    async (signal, { kv, bucket, service, whole, untilWritten, env, before }) => {
      await kv.deleteBucket(bucket);
      const proxy = await CuttableProxy.to(service);
      const child = start(["import", whole], { IRONFLOW_SERVER: proxy.url });
      const exited = once(child, "exit");
      const said = text(child.stderr);
      await untilWritten(500);
      // What is sent from now on is written, and the import does not hear of it.
      proxy.holdAnswers();
      child.kill(signal);
      expect(await exited).toEqual(signal === "SIGINT" ? [130, null] : [null, "SIGKILL"]);
      if (signal === "SIGINT") {
        expect(await said).toMatch(
          /^ironflow-kv: Interrupted\. So far: .* has the first [\d,]+ entries; resume with: ironflow-kv import .* --resume\n$/,
        );
      }
      await proxy.refuse();
      expect((await kv.getBucketInfo(bucket)).description).toMatch(/^Not complete: /);
      const resumed = await runBuilt(["import", whole, "--resume"], { env });
      expect(resumed).toMatchObject({ exitCode: 0, stderr: "" });
      expect(await contentsOf(kv, bucket)).toEqual(before);
      expect((await kv.getBucketInfo(bucket)).revision).toBe(BigInt(ENTRIES));
    },
  );

  it("duplicates nothing when answers are lost and connections break", async ({
    kv,
    bucket,
    service,
    whole,
    untilWritten,
    before,
  }) => {
    await kv.deleteBucket(bucket);
    const proxy = await CuttableProxy.to(service);
    const importing = runBuilt(["import", whole], { env: { IRONFLOW_SERVER: proxy.url } });
    for (const count of [300, 1_200, 2_400]) {
      await untilWritten(count);
      proxy.holdAnswers();
      // Requests of the import are applied meanwhile, and their answers are lost.
      await kv.getBucketInfo(bucket);
      proxy.cut();
      proxy.passAnswers();
    }
    expect(await importing).toMatchObject({ exitCode: 0 });
    await proxy.refuse();
    expect(await contentsOf(kv, bucket)).toEqual(before);
    expect((await kv.getBucketInfo(bucket)).revision).toBe(BigInt(ENTRIES));
  });
});
