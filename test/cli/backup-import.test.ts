/** What `import` and `verify` do with backups and buckets that are not as they should be. */
import { readFile, writeFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { describe, expect } from "vitest";
import { createClient, type ImportedEntry } from "@ironflow-kv/client";
import { CuttableProxy } from "../client/cuttable-proxy.js";
import { startTestService } from "../support/service.js";
import { contentsOf, fill, lineOf, numbered, put } from "./backup-support.js";
import { IS_EXTENDED } from "../support/extended.js";
import { backupTest } from "./backup-test.js";

const it = backupTest()
  /** Expects one line on standard error, and nothing on standard output. */
  .extend(
    "refusal",
    ({ cli }) =>
      async (args: readonly string[], exitCode: number, sentence: RegExp, input = ""): Promise<void> => {
        const result = await cli(args, { input });
        expect(result).toMatchObject({ exitCode, stdout: "" });
        expect(result.stderr).toMatch(/^ironflow-kv: [^\n]+\n$/);
        expect(result.stderr).toMatch(sentence);
      },
  )
  .extend("exported", ({ file, cli }) => async (buckets: readonly string[], to = file): Promise<Buffer> => {
    expect(await cli(["export", ...buckets, "--output", to])).toMatchObject({ exitCode: 0 });
    return await readFile(to);
  });

const lines = (entries: readonly ImportedEntry[]): string[] => entries.map(lineOf);

describe("an import", () => {
  it("refuses what was written to, before it writes anything anywhere", async ({
    newBucket,
    exported,
    kv,
    refusal,
    file,
    cli,
  }) => {
    const [one, other] = [await newBucket(1, numbered(3)), await newBucket(1, numbered(3))];
    await exported([one, other]);
    await kv.deleteBucket(one);
    await refusal(["import", file], 4, /exists and was written to.*--into-existing/);
    await expect(kv.getBucketInfo(one)).rejects.toMatchObject({ reason: "bucket_not_found" });
    await kv.deleteBucket(other);
    expect(await cli(["import", file])).toMatchObject({ exitCode: 0 });
    await refusal(["import", file], 4, /exists and was written to/);
    expect((await kv.getBucketInfo(one)).revision).toBe(3n);
  });

  it("fills a bucket that was never written to, and gives it the settings of the backup", async ({
    newBucket,
    kv,
    exported,
    cli,
    file,
  }) => {
    const bucket = await newBucket(4, numbered(3));
    const before = await contentsOf(kv, bucket);
    await exported([bucket]);
    await kv.deleteBucket(bucket);
    await kv.createBucket({ name: bucket, description: "made by hand", ttlSeconds: 60, maxBytes: 2_000 });
    expect(await cli(["import", file])).toMatchObject({ exitCode: 0 });
    expect(await contentsOf(kv, bucket)).toEqual(before);
  });

  it("takes some of the buckets", async ({ newBucket, exported, kv, cli, file, refusal }) => {
    const [one, other] = [await newBucket(1, numbered(3)), await newBucket(1, numbered(2))];
    await exported([one, other]);
    await kv.deleteBucket(one);
    expect(await cli(["import", file, one, "--json"])).toMatchObject({
      exitCode: 0,
      stdout: `{"buckets":[{"name":"${one}","state":"complete","entries":3}],"entries":3,"value_bytes":60}\n`,
    });
    await refusal(["import", file, "absent"], 4, /The backup has no bucket "absent"/);
  });

  it("adds to a bucket that is in use, which keeps its settings", async ({
    newBucket,
    exported,
    kv,
    cli,
    file,
    refusal,
  }) => {
    const added = [put("a", "1"), put("b", "1"), put("a", "2")];
    const source = await newBucket(5, added);
    await exported([source]);
    await kv.deleteBucket(source);
    await kv.createBucket({ name: source, history: 5, description: "in use" });
    await kv.bucket(source).put("a", Buffer.from("0"));
    expect(await cli(["import", file, "--into-existing"])).toMatchObject({ exitCode: 0 });
    expect(await contentsOf(kv, source)).toMatchObject({
      settings: { description: "in use" },
      entries: lines([put("a", "0"), ...added]),
    });
    // From the third on.
    expect(await cli(["import", file, source, "--into-existing", "--skip", "2"])).toMatchObject({
      exitCode: 0,
    });
    expect((await contentsOf(kv, source)).entries).toEqual(lines([put("a", "0"), ...added, put("a", "2")]));
    await kv.updateBucket(source, { history: 4 });
    await refusal(
      ["import", file, "--into-existing"],
      4,
      /keeps 4 revisions per key, and the backup has up to 5/,
    );
  });

  it("adds each entry once where others write all the while", async ({
    newBucket,
    exported,
    kv,
    cli,
    file,
  }) => {
    const added = numbered(2_000);
    const bucket = await newBucket(1, added);
    await exported([bucket]);
    await kv.deleteBucket(bucket);
    await kv.createBucket({ name: bucket });
    await kv.bucket(bucket).put("other", "0");
    let others = 1;
    const writing = new AbortController();
    const writer = (async () => {
      for (; !writing.signal.aborted; others++) {
        await kv.bucket(bucket).put("other", `${others}`);
        await delay(2);
      }
    })();
    expect(await cli(["import", file, "--into-existing"])).toMatchObject({ exitCode: 0 });
    writing.abort();
    await writer;
    const info = await kv.getBucketInfo(bucket);
    expect(info).toMatchObject({ values: 2_001, revision: BigInt(2_000 + others) });
  });

  it("stops where somebody else writes to a bucket that it restores, and says how far it came", async ({
    newBucket,
    exported,
    kv,
    service,
    cli,
    file,
    refusal,
  }) => {
    const bucket = await newBucket(1, numbered(3_000));
    await exported([bucket]);
    await kv.deleteBucket(bucket);
    const proxy = await CuttableProxy.to(service);
    const importing = cli(["import", file], { env: { IRONFLOW_SERVER: proxy.url } });
    const untilWritten = async (): Promise<bigint> => {
      for (;;) {
        const info = await kv.getBucketInfo(bucket).catch(() => undefined);
        if (info !== undefined && info.revision > 0n) return info.revision;
      }
    };
    // It stands still, as it waits for an answer.
    await untilWritten();
    proxy.holdAnswers();
    const { revision } = await kv.bucket(bucket).put("other", "0");
    proxy.cut();
    proxy.passAnswers();
    const { exitCode, stderr } = await importing;
    await proxy.refuse();
    expect(exitCode).toBe(4);
    expect(stderr).toMatch(
      /Another client wrote to the bucket .* So far: .* has the first [\d,]+ entries; resume with: /,
    );
    expect(revision).toBeLessThanOrEqual(3_001n);
    expect((await kv.getBucketInfo(bucket)).description).toMatch(/^Not complete: /);
    await refusal(["import", file], 4, /the result of an interrupted import of this backup/);
    await refusal(["import", file, "--resume"], 4, /another client wrote to it/);
  });

  it("resumes where one was interrupted, and skips complete buckets", async ({
    newBucket,
    kv,
    exported,
    cli,
    file,
    refusal,
  }) => {
    const entries = numbered(700);
    const [one, other] = [await newBucket(1, numbered(5)), await newBucket(2, entries)];
    const before = await contentsOf(kv, other);
    await exported([one, other]);
    const id = /"backup_id":"(\w+)"/.exec((await cli(["verify", file, "--json"])).stdout)?.[1] ?? "";
    for (const count of IS_EXTENDED ? [0, 1, 499, 500, 501, 699, 700] : [0, 499, 700]) {
      await kv.deleteBucket(other);
      const description = `Not complete: an import of the backup ${id} is under way or was interrupted.`;
      await kv.createBucket({ name: other, history: 2, description });
      await fill(kv, other, entries.slice(0, count));
      const resumed = await cli(["import", file, "--resume"]);
      expect(resumed).toMatchObject({ exitCode: 0, stderr: "" });
      expect(resumed.stdout).toMatch(new RegExp(`^${one} was already imported\nimported 2 buckets, `));
      expect(await contentsOf(kv, other)).toEqual(before);
    }
    const again = await cli(["import", file, "--resume"]);
    expect(again.stdout).toMatch(/^(\S+ was already imported\n){2}imported 2 buckets, 0 entries/);
    await kv.bucket(one).put("k", "v");
    await refusal(["import", file, "--resume"], 4, /exists and was not created by an import of this backup/);
  });

  it("fails with the service's error if a value is too large", async ({ newBucket, exported, cli, file }) => {
    const small = await startTestService({ "value-bytes-max": "1000" });
    try {
      const bucket = await newBucket(1, [put("a", "1"), put("large", new Uint8Array(2_000)), put("b", "1")]);
      await exported([bucket]);
      const result = await cli(["import", file], { env: { IRONFLOW_SERVER: small.url } });
      expect(result.exitCode).toBe(7);
      expect(result.stderr).toMatch(
        /The value has 2000 bytes; .* has the first 0 entries; resume with: .* --resume/,
      );
    } finally {
      await small.remove();
    }
  });

  it("sends smaller batches to a service with a small message limit", async ({
    newBucket,
    kv,
    exported,
    cli,
    file,
  }) => {
    const bucket = await newBucket(1, numbered(200, 1_000));
    const before = await contentsOf(kv, bucket);
    await exported([bucket]);
    const settings = { "value-bytes-max": "2000", "message-bytes-max": "12000" };
    const small = await startTestService(settings);
    try {
      expect(await cli(["import", file], { env: { IRONFLOW_SERVER: small.url } })).toMatchObject({
        exitCode: 0,
      });
      const target = createClient({ serverUrl: small.url }).kv();
      expect(await contentsOf(target, bucket)).toEqual(before);
    } finally {
      await small.remove();
    }
  });

  it.for([
    ["a file that is not there", 1, ["import", "/nowhere/at/all"]],
    ["resuming standard input", 2, ["import", "-", "--resume"]],
    ["skipping without a bucket", 2, ["import", "FILE", "--into-existing", "--skip", "3"]],
    ["skipping in a new bucket", 2, ["import", "FILE", "b", "--skip", "3"]],
    ["a malformed count", 2, ["import", "FILE", "b", "--into-existing", "--skip", "x"]],
    ["resuming and adding", 2, ["import", "FILE", "--resume", "--into-existing"]],
    ["nothing on standard input", 1, ["import", "-"]],
  ] as const)("of %s ends with exit code %i", async ([, exitCode, args], { refusal, file }) => {
    await refusal(
      args.map((arg) => arg.replace("FILE", file)),
      exitCode,
      /./,
    );
  });
});

describe("a truncated backup", () => {
  it("is not imported, and import and verify report the intact part", async ({
    newBucket,
    exported,
    kv,
    file,
    refusal,
    cli,
  }) => {
    const [one, other] = [await newBucket(1, numbered(5)), await newBucket(1, numbered(20))];
    const whole = await exported([one, other]);
    await kv.deleteBucket(one);
    await kv.deleteBucket(other);
    const cut = whole.subarray(0, -400);
    for (const [name, bytes, intactPart] of [
      ["plain", cut, String.raw`\S+, and the first \d+ entries of \S+\.`],
      ["compressed", gzipSync(whole).subarray(0, -200), ".*"],
    ] as const) {
      const torn = `${file}-${name}`;
      await writeFile(torn, bytes);
      const said = new RegExp(`is truncated.* Intact: ${intactPart} Restore it with import --salvage\\.`);
      await refusal(["import", torn], 1, said);
      const verified = await cli(["verify", torn]);
      expect(verified.exitCode).toBe(1);
      expect(verified.stdout).toMatch(/ truncated\n/);
    }
    await expect(kv.getBucketInfo(one)).rejects.toMatchObject({ reason: "bucket_not_found" });

    const salvaged = await cli(["import", `${file}-plain`, "--salvage"]);
    expect(salvaged.exitCode).toBe(0);
    expect(salvaged.stdout).toMatch(/ has the first \d+ entries: the backup has no more\nimported 2 buckets/);
    expect((await contentsOf(kv, one)).entries).toEqual(lines(numbered(5)));
    const { entries, settings } = await contentsOf(kv, other);
    expect(entries.length).toBeGreaterThan(5);
    expect(entries).toEqual(lines(numbered(20)).slice(0, entries.length));
    expect(settings.description).toBe("");
  });

  it("is refused where standard input ends, and the bucket's description is marked", async ({
    newBucket,
    exported,
    kv,
    cli,
    file,
  }) => {
    const bucket = await newBucket(1, numbered(20));
    const whole = await exported([bucket]);
    await kv.deleteBucket(bucket);
    const cut = await cli(["import", "-"], { input: whole.subarray(0, -300) });
    expect(cut.exitCode).toBe(1);
    expect(cut.stderr).toMatch(
      /The file is truncated at byte \d+\. So far: .*; resume from a file, with --resume/,
    );
    expect((await kv.getBucketInfo(bucket)).description).toMatch(/^Not complete: /);
    expect(await cli(["import", file, "--resume"])).toMatchObject({ exitCode: 0 });
    expect((await contentsOf(kv, bucket)).entries).toEqual(lines(numbered(20)));
  });

  it.for([
    [
      "damaged",
      1,
      (whole: Buffer) => whole.fill("V", whole.indexOf("value 7"), whole.indexOf("value 7") + 1),
      /damaged at byte/,
    ],
    ["of a newer format", 1, (whole: Buffer) => whole.fill("2", 19, 20), /newer version of ironflow-kv/],
    ["of an older format", 1, (whole: Buffer) => whole.fill("0", 19, 20), /older version of ironflow-kv/],
    ["no backup", 1, () => Buffer.from("hello, world"), /not an ironflow-kv backup/],
  ] as const)(
    "as it is %s, ends verify and import with exit code %i",
    async ([, exitCode, change, sentence], { newBucket, file, exported, cli }) => {
      const bucket = await newBucket(1, numbered(30));
      await writeFile(file, change(await exported([bucket])));
      for (const verb of ["verify", "import"]) {
        const result = await cli([verb, file]);
        expect(result.exitCode).toBe(exitCode);
        expect(result.stderr).toMatch(sentence);
      }
      const failed = await cli(["import", file, "--json"]);
      expect(JSON.parse(failed.stderr)).toMatchObject({ code: "failed" });
    },
  );
});
