/** Backups against real services: what was exported is what is restored, byte by byte. */
import { copyFile, readFile, rm, stat, writeFile } from "node:fs/promises";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect } from "vitest";
import { createClient, type ImportedEntry } from "@ironflow-kv/client";
import { IS_EXTENDED } from "../support/extended.js";
import { startTestService } from "../support/service.js";
import {
  type Contents,
  contentsOf,
  fill,
  headerEndOf,
  isSameBackup,
  lineOf,
  numbered,
  put,
  tombstone,
} from "./backup-support.js";
import { type RunOptions, runBuilt } from "./support.js";
import { backupTest } from "./backup-test.js";

const API_KEY = "the-right-key-of-tests";

const it = backupTest(API_KEY)
  /** As `cli`, for what must go well. */
  .extend(
    "succeed",
    ({ cli }) =>
      async (args: readonly string[], options: RunOptions = {}): Promise<string> => {
        const result = await cli(args, options);
        expect(result).toMatchObject({ exitCode: 0, stderr: "" });
        return result.stdout;
      },
  )
  /** Deletes a bucket and restores it. */
  .extend("restored", ({ file, kv, succeed }) => async (bucket: string, from = file): Promise<Contents> => {
    await kv.deleteBucket(bucket);
    await succeed(["import", from, bucket]);
    return await contentsOf(kv, bucket);
  });

describe("a restore", () => {
  it("into an empty service brings back every bucket, key, revision, value, media type and setting", async ({
    succeed,
    file,
  }) => {
    const [source, target] = await Promise.all([startTestService(), startTestService()]);
    const [from, to] = [source, target].map(({ url }) => createClient({ serverUrl: url }).kv());
    if (from === undefined || to === undefined) throw new Error("no services");
    try {
      await from.createBucket({ name: "empty", description: "nothing yet", maxBytes: 1_000_000 });
      await from.createBucket({ name: "deep", history: 64 });
      await fill(
        from,
        "deep",
        Array.from({ length: 64 }, (_, index) => [put("a", `${index}`), put("b", `${index}`)]).flat(),
      );
      await from.createBucket({
        name: "kinds",
        description: "Grüße",
        history: 3,
        ttlSeconds: 86_400,
        maxValueSize: 1_048_576,
        maxBytes: 50_000_000,
      });
      const kinds = from.bucket("kinds");
      const keys = ["ünïcödé/🔑", "*", ">", "a.*.>", "a..b", ".", "user:1", "=41", "spa ce", "x".repeat(512)];
      for (const key of keys) await kinds.put(key, key);
      await kinds.put("empty", new Uint8Array(0));
      await kinds.put("large", new Uint8Array(1_048_576).fill(7), { contentType: "application/x-seven" });
      await kinds.put(
        "every byte",
        Uint8Array.from({ length: 256 }, (_, byte) => byte),
      );
      await kinds.put("json", { is: "json" });
      for (const value of ["1", "2", "3", "4"]) await kinds.put("rewritten", value);
      await kinds.delete("rewritten");
      await kinds.put("purged", "1");
      await kinds.purge("purged");
      await kinds.put("back", "1");
      await kinds.purge("back");
      await kinds.put("back", "2");

      const sourceEnv = { IRONFLOW_SERVER: source.url };
      const targetEnv = { IRONFLOW_SERVER: target.url };
      await succeed(["export", "--output", file], { env: sourceEnv });
      await succeed(["verify", file]);
      await succeed(["import", file], { env: targetEnv });
      expect((await to.listBuckets()).map(({ name }) => name)).toEqual(["deep", "empty", "kinds"]);
      for (const bucket of ["deep", "empty", "kinds"]) {
        expect(await contentsOf(to, bucket)).toEqual(await contentsOf(from, bucket));
      }
      expect(await to.bucket("kinds").listKeys()).toEqual(await kinds.listKeys());

      // And once more: a backup of what was restored has the same entries.
      await succeed(["export", "--output", `${file}-2`], { env: targetEnv });
      const report = async (name: string): Promise<unknown> => {
        const { buckets } = JSON.parse(await succeed(["verify", name, "--json"])) as { buckets: object[] };
        return buckets.map((bucket) => ({ ...bucket, revision: 0 }));
      };
      expect(await report(`${file}-2`)).toEqual(await report(file));
    } finally {
      await Promise.all([source.remove(), target.remove()]);
    }
  });

  it("keeps the order of revisions over thousands of keys, and renumbers them from 1", async ({
    newBucket,
    kv,
    succeed,
    file,
    restored,
  }) => {
    const keys = IS_EXTENDED ? 10_000 : 2_500;
    const entries = keys + 1_000;
    const bucket = await newBucket(2, [...numbered(keys), ...numbered(1_000, 5)]);
    const before = await contentsOf(kv, bucket);
    expect(before.entries).toHaveLength(entries);
    expect(await succeed(["export", bucket, "--output", file])).toMatch(
      new RegExp(`^exported 1 bucket, ${entries.toLocaleString("en")} entries, .* to .*\\n$`),
    );
    expect(await restored(bucket)).toEqual(before);
    expect(await kv.getBucketInfo(bucket)).toMatchObject({ revision: BigInt(entries), values: keys });
  });

  it("keeps deletes that nothing stands before", async ({ newBucket, kv, succeed, file, restored }) => {
    // The put is gone by the history limit; then the limit grows.
    const bucket = await newBucket(1, [put("gone", "1"), put("there", "1")]);
    await kv.bucket(bucket).delete("gone");
    await kv.updateBucket(bucket, { history: 10 });
    await kv.bucket(bucket).put("gone", "2");
    const before = await contentsOf(kv, bucket);
    expect(before.entries).toHaveLength(3);
    await succeed(["export", bucket, "--output", file]);
    expect(await restored(bucket)).toEqual(before);
  });

  it("restarts each TTL, and does not bring back what expired", async ({
    newBucket,
    kv,
    succeed,
    file,
    restored,
  }) => {
    const bucket = await newBucket(1, [put("short", "1")]);
    await kv.updateBucket(bucket, { ttlSeconds: 1 });
    for await (const event of kv.bucket(bucket).watch([], { start: "history" })) {
      if (event.type === "expire") break;
    }
    await kv.updateBucket(bucket, { ttlSeconds: 3_600 });
    await kv.bucket(bucket).put("long", "1");
    const importedAt = Date.now();
    await succeed(["export", bucket, "--output", file]);
    const { entries, settings } = await restored(bucket);
    expect(entries).toEqual([expect.stringContaining('put "long"')]);
    expect(settings.ttlSeconds).toBe(3_600);
    expect((await kv.bucket(bucket).get("long")).createdAt.getTime()).toBeGreaterThanOrEqual(importedAt - 5);
  });

  it("of a bucket that was written to all the while shows it as it was at one revision", async ({
    newBucket,
    kv,
    succeed,
    file,
    restored,
  }) => {
    const history = 2;
    const first = numbered(3_000);
    const bucket = await newBucket(history, first);
    const written = new Map<number, ImportedEntry>(first.map((entry, index) => [index + 1, entry]));
    const writing = new AbortController();
    const writer = async (number: number): Promise<void> => {
      for (let count = 0; !writing.signal.aborted; count++) {
        const key = `key.${(count * 7 + number) % 50}`;
        const entry = count % 5 === 4 ? tombstone(key) : put(key, `${number} ${count}`);
        const { revision } = await (entry.operation === "delete"
          ? kv.bucket(bucket).delete(key)
          : kv.bucket(bucket).put(key, entry.value));
        if (revision > 0n) written.set(Number(revision), entry);
      }
    };
    const writers = [1, 2, 3, 4].map(writer);
    // Until they are at it.
    while (written.size < 3_020)
      await kv
        .bucket(bucket)
        .get("key.0")
        .catch(() => undefined);
    await succeed(["export", bucket, "--output", file]);
    writing.abort();
    await Promise.all(writers);
    const [{ revision }] = (
      JSON.parse(await succeed(["verify", file, "--json"])) as { buckets: [{ revision: number }] }
    ).buckets;
    expect(revision).toBeGreaterThan(3_000);

    const keptByKey = new Map<string, number[]>();
    for (const at of [...written.keys()].sort((one, other) => one - other)) {
      const key = written.get(at)?.key ?? "";
      if (at <= revision) keptByKey.set(key, [...(keptByKey.get(key) ?? []), at].slice(-history));
    }
    const kept = [...keptByKey.values()].flat().sort((one, other) => one - other);
    const { entries } = await restored(bucket);
    expect(entries).toEqual(kept.map((at) => lineOf(written.get(at) ?? put("?", "?"))));
  });
});

describe("an export", () => {
  it("is compressed where the file's name or an option says so", async ({
    newBucket,
    succeed,
    file,
    kv,
    restored,
  }) => {
    const bucket = await newBucket(1, numbered(500, 100));
    await succeed(["export", bucket, "--output", file]);
    await succeed(["export", bucket, "--output", `${file}.gz`]);
    await succeed(["export", bucket, "--output", `${file}-too`, "--gzip"]);
    const plain = await readFile(file);
    for (const name of [`${file}.gz`, `${file}-too`]) {
      const compressed = await readFile(name);
      expect(compressed.length).toBeLessThan(plain.length / 2);
      expect(isSameBackup(gunzipSync(compressed), plain)).toBe(true);
    }
    const before = await contentsOf(kv, bucket);
    expect(await restored(bucket, `${file}.gz`)).toEqual(before);
  });

  it("goes to standard output and comes from standard input", async ({
    newBucket,
    kv,
    env,
    succeed,
    cli,
  }) => {
    const bucket = await newBucket(2, numbered(300));
    const before = await contentsOf(kv, bucket);
    for (const flags of [[], ["--gzip"]]) {
      const exported = await runBuilt(["export", bucket, "--output", "-", ...flags], { env: env });
      expect(exported).toMatchObject({ exitCode: 0 });
      expect(exported.stderr).toMatch(/^ironflow-kv: exported 1 bucket, 300 entries, .*\n$/);
      expect(await succeed(["verify", "-"], { input: exported.bytes })).toMatch(/The backup is complete/);
      await kv.deleteBucket(bucket);
      await succeed(["import", "-"], { input: exported.bytes });
      expect(await contentsOf(kv, bucket)).toEqual(before);
    }
    const onTerminal = await cli(["export", bucket, "--output", "-"], { isTerminal: true });
    expect(onTerminal).toMatchObject({ exitCode: 2, stdout: "" });
  });

  it("gets its final name only when complete, and replaces no file without --force", async ({
    newBucket,
    file,
    cli,
    succeed,
  }) => {
    const bucket = await newBucket(1, numbered(3));
    await writeFile(file, "precious");
    const refused = await cli(["export", bucket, "--output", file]);
    expect(refused).toMatchObject({ exitCode: 4, stdout: "" });
    expect(refused.stderr).toMatch(/exists; .*--force/);
    expect(await readFile(file, "utf8")).toBe("precious");
    await succeed(["export", bucket, "--output", file, "--force"]);
    await succeed(["verify", file]);
    await expect(stat(`${file}.partial`)).rejects.toThrow(/ENOENT/);

    await copyFile(file, `${file}-b.partial`);
    const left = await cli(["export", bucket, "--output", `${file}-b`]);
    expect(left).toMatchObject({ exitCode: 4, stdout: "" });
    expect(left.stderr).toMatch(/--resume.*--force/);
  });

  it.for([
    ["a bucket that is not there", 3, ["export", "nowhere", "--output", "FILE"]],
    ["no file", 2, ["export"]],
    ["a folder that is not there", 1, ["export", "--output", "FILE/in/it"]],
    ["resuming standard output", 2, ["export", "--output", "-", "--resume"]],
    ["both resuming and starting over", 2, ["export", "--output", "FILE", "--resume", "--force"]],
  ] as const)("of %s ends with exit code %i and one line", async ([, exitCode, args], { cli, file }) => {
    const result = await cli(args.map((arg) => arg.replace("FILE", file)));
    expect(result).toMatchObject({ exitCode, stdout: "" });
    expect(result.stderr).toMatch(/^ironflow-kv: [^\n]+\n$/);
    await expect(stat(file)).rejects.toThrow(/ENOENT/);
  });

  it("resumes after a cut at any byte, and the file is complete", async ({ newBucket, succeed, file }) => {
    const bucket = await newBucket(5, [...numbered(8), ...numbered(4, 3)]);
    const empty = await newBucket();
    await succeed(["export", bucket, empty, "--output", file]);
    const whole = await readFile(file);
    const resumed = `${file}-resumed`;
    const check = async (length: number): Promise<void> => {
      await writeFile(`${resumed}.partial`, whole.subarray(0, length));
      await succeed(["export", bucket, empty, "--output", resumed, "--resume"]);
      const content = await readFile(resumed);
      await rm(resumed);
      if (length < headerEndOf(whole)) expect(isSameBackup(content, whole)).toBe(true);
      else expect(content.equals(whole), `${length} bytes`).toBe(true);
    };
    for (const length of [0, 1, 20, 21, 25, whole.length - 1, whole.length]) await check(length);
    await fc.assert(fc.asyncProperty(fc.nat(whole.length), check), {
      numRuns: IS_EXTENDED ? 1_000 : 12,
    });
  });

  it("resumes a compressed one too, and one with a damaged part", async ({ newBucket, succeed, file }) => {
    const bucket = await newBucket(1, numbered(2_000));
    await succeed(["export", bucket, "--output", `${file}.gz`]);
    const whole = await readFile(`${file}.gz`);
    const resumed = `${file}-resumed.gz`;
    for (const length of [1, 10, Math.floor(whole.length / 2), whole.length - 1]) {
      await writeFile(`${resumed}.partial`, whole.subarray(0, length));
      await succeed(["export", bucket, "--output", resumed, "--resume"]);
      expect(isSameBackup(gunzipSync(await readFile(resumed)), gunzipSync(whole))).toBe(true);
      await rm(resumed);
    }
    const plain = gunzipSync(whole);
    const damaged = Buffer.from(plain);
    damaged.fill(0, 5_000, 5_010);
    await writeFile(`${file}.partial`, damaged);
    await succeed(["export", "--output", file, "--resume"]);
    expect((await readFile(file)).equals(plain)).toBe(true);
  });

  it("that is resumed has what was written since, and refuses a bucket that is another one", async ({
    newBucket,
    succeed,
    file,
    kv,
    restored,
    cli,
  }) => {
    const bucket = await newBucket(1, numbered(50));
    await succeed(["export", bucket, "--output", file]);
    const part = (await readFile(file)).subarray(0, 2_000);
    await kv.bucket(bucket).put("key.1", "new");
    await kv.bucket(bucket).delete("key.49");
    await writeFile(`${file}-b.partial`, part);
    await succeed(["export", "--output", `${file}-b`, "--resume"]);
    const before = await contentsOf(kv, bucket);
    expect(await restored(bucket, `${file}-b`)).toEqual(before);

    // The restored bucket has the old one's name and is another.
    await writeFile(`${file}-c.partial`, part);
    const refused = await cli(["export", "--output", `${file}-c`, "--resume"]);
    expect(refused).toMatchObject({ exitCode: 4, stdout: "" });
    expect(refused.stderr).toMatch(/deleted and recreated/);
    const others = await cli(["export", await newBucket(), "--output", `${file}-c`, "--resume"]);
    expect(others).toMatchObject({ exitCode: 4, stdout: "" });
    expect(others.stderr).toMatch(/other buckets/);
  });

  it("shows a bar on a terminal, on standard error", async ({ newBucket, cli, file }) => {
    const bucket = await newBucket(1, numbered(2_000));
    const { exitCode, stdout, stderr } = await cli(["export", bucket, "--output", file], {
      isTerminal: true,
    });
    expect(exitCode).toBe(0);
    expect(stderr).toMatch(/export \[.*\] \d+% \| /);
    expect(stdout).toMatch(/^exported 1 bucket/);
  });
});
