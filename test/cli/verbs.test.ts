/** Every verb of the command line, on a real service. */
import { describe, expect } from "vitest";
import { freshName } from "../support/service.js";
import { verbTest } from "./verb-test.js";

const TIME = String.raw`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`;

const it = verbTest();

const onTerminal = { isTerminal: true };

describe("bucket", () => {
  it("makes, shows, changes, lists and removes buckets", async ({ cli, kv }) => {
    const made = freshName();
    const created = await cli([
      ...["bucket", "create", made, "--ttl", "1h30m", "--history", "3", "--max-bytes", "10MB"],
      ...["--max-value-size", "64KiB", "--description", "for a test"],
    ]);
    expect(created).toMatchObject({ exitCode: 0, stderr: "" });
    expect(created.stdout).toMatch(/^ttl +1h30m$/m);
    expect(created.stdout).toMatch(/^max bytes +10 MB$/m);
    expect(created.stdout).toMatch(/^max value size +64 KiB$/m);
    expect(await kv.getBucketInfo(made)).toMatchObject({
      ttlSeconds: 5400,
      history: 3,
      maxBytes: 10_000_000,
      maxValueSize: 65_536,
      description: "for a test",
    });
    await kv.bucket(made).put("k", "v");
    const info = JSON.parse((await cli(["bucket", "info", made, "--json"])).stdout) as unknown;
    expect(info).toMatchObject({ name: made, values: 1, ttl_seconds: 5400, history: 3 });
    expect((await cli(["bucket", "update", made, "--ttl", "0"])).stdout).toMatch(/^ttl +-$/m);
    const listed = await cli(["bucket", "ls"]);
    expect(listed.stdout).toMatch(/^NAME +KEYS +SIZE +HISTORY +TTL +CREATED +DESCRIPTION$/m);
    expect(listed.stdout).toMatch(new RegExp(`^${made} +1 +\\d+ B +3  - +${TIME}  for a test$`, "m"));
    expect(await cli(["bucket", "rm", made])).toMatchObject({ exitCode: 0, stdout: "", stderr: "" });
    expect((await cli(["bucket", "info", made])).exitCode).toBe(3);
  });

  it("asks for confirmation before it deletes one, and takes anything but yes as no", async ({
    cli,
    kv,
    bucketName,
  }) => {
    const refused = await cli(["bucket", "rm", bucketName], { ...onTerminal, input: "\n" });
    expect(refused).toMatchObject({ exitCode: 1 });
    expect(refused.stderr).toMatch(/Permanently delete .*\? \[y\/N\].*Nothing was changed/s);
    expect((await kv.getBucketInfo(bucketName)).name).toBe(bucketName);
    expect((await cli(["bucket", "rm", bucketName, "--yes"], onTerminal)).exitCode).toBe(0);
    const { name: second } = await kv.createBucket({ name: freshName() });
    expect((await cli(["bucket", "rm", second], { ...onTerminal, input: "y\n" })).exitCode).toBe(0);
    expect((await cli(["bucket", "info", second])).exitCode).toBe(3);
  });
});

describe("values", () => {
  it("puts, gets, creates, updates and deletes", async ({ cli, bucketName }) => {
    expect(await cli(["put", bucketName, "k", "v"])).toMatchObject({ exitCode: 0, stdout: "1\n" });
    expect(await cli(["create", bucketName, "k", "x"])).toMatchObject({ exitCode: 4, stdout: "" });
    expect(await cli(["update", bucketName, "k", "v2", "--if-revision", "1"])).toMatchObject({
      stdout: "2\n",
    });
    expect(await cli(["update", bucketName, "k", "v3", "--if-revision", "1"])).toMatchObject({ exitCode: 4 });
    expect(await cli(["get", bucketName, "k"])).toMatchObject({ exitCode: 0, stdout: "v2" });
    expect(await cli(["get", bucketName, "k", "--revision", "1"])).toMatchObject({ stdout: "v" });
    expect(await cli(["del", bucketName, "k", "--if-revision", "1"])).toMatchObject({ exitCode: 4 });
    expect(await cli(["del", bucketName, "k"])).toMatchObject({ exitCode: 0, stdout: "3\n" });
    expect(await cli(["del", bucketName, "k"])).toMatchObject({ exitCode: 0, stdout: "0\n" });
    expect(await cli(["create", bucketName, "k", "again"])).toMatchObject({ exitCode: 0, stdout: "4\n" });
  });

  it("gets several keys at one revision", async ({ cli, bucketName }) => {
    await cli(["put", bucketName, "many.a", "1"]);
    await cli(["put", bucketName, "many.b", "22"]);
    const keys = ["many.b", "absent", "many.a"];
    const { stdout } = await cli(["get", bucketName, ...keys]);
    const lines = stdout.split("\n").map((line) => line.split(/\s+/));
    expect(lines[0]).toEqual(["KEY", "REVISION", "SIZE", "VALUE"]);
    expect(lines.slice(1, 4).map(([key, , , , value]) => [key, value])).toEqual([
      ["many.b", "22"],
      ["absent", undefined],
      ["many.a", "1"],
    ]);
    const json = JSON.parse((await cli(["get", bucketName, ...keys, "--json"])).stdout) as {
      results: unknown;
    };
    expect(json.results).toMatchObject([
      { key: "many.b", entry: { value: "MjI=" } },
      { key: "absent", entry: null },
      { key: "many.a", entry: { value: "MQ==" } },
    ]);
  });

  it("takes a value from standard input, with - and without, and the media type", async ({
    cli,
    bucket,
    bucketName,
  }) => {
    await cli(["put", bucketName, "a", "-"], { input: "one" });
    await cli(["put", bucketName, "b"], { input: "two" });
    await cli(["put", bucketName, "c", "--file", "-", "--content-type", "text/csv"], { input: "1,2" });
    expect((await bucket.get("a")).text()).toBe("one");
    expect((await bucket.get("b")).text()).toBe("two");
    expect(await bucket.get("c")).toMatchObject({ contentType: "text/csv" });
  });

  it("takes an empty value only where it is given as one", async ({ cli, bucket, bucketName }) => {
    expect(await cli(["put", bucketName, "k", ""])).toMatchObject({ exitCode: 0 });
    expect((await bucket.get("k")).text()).toBe("");
    const nothing = await cli(["put", bucketName, "k"], onTerminal);
    expect(nothing).toMatchObject({ exitCode: 2 });
    expect(nothing.stderr).toBe(
      "ironflow-kv: the value is missing; add it, --file, or - for standard input\n",
    );
  });

  it("ends a text with a line end on a terminal, and speaks in sentences there", async ({
    cli,
    bucketName,
  }) => {
    expect((await cli(["put", bucketName, "k", "v"], onTerminal)).stdout).toBe("k is at revision 1\n");
    expect((await cli(["get", bucketName, "k"], onTerminal)).stdout).toBe("v\n");
    expect((await cli(["del", bucketName, "k"], onTerminal)).stdout).toBe("k is deleted, at revision 2\n");
    expect((await cli(["del", bucketName, "k"], onTerminal)).stdout).toBe("k had no value\n");
  });

  it.for([
    ["bytes that are not text", Uint8Array.of(0xff, 0xfe)],
    ["text that would steer the terminal", "\u001b[2Jgone"],
  ] as const)(
    "does not send %s to a terminal, but to a pipe",
    async ([, value], { bucket, cli, bucketName }) => {
      await bucket.put("k", value);
      const shown = await cli(["get", bucketName, "k"], onTerminal);
      expect(shown.stdout).toBe("");
      expect(shown.stderr).toMatch(/not printable text/);
      expect((await cli(["get", bucketName, "k"])).stdout).not.toBe("");
      expect((await cli(["history", bucketName, "k"], onTerminal)).stdout).toMatch(
        /put +\d+ B +<\d+ bytes>$/m,
      );
    },
  );

  it("shows what is known of a value with --meta and --json", async ({ bucket, cli, bucketName }) => {
    await bucket.put("k", { a: 1 });
    const meta = await cli(["get", bucketName, "k", "--meta"]);
    expect(meta.stdout).toMatch(/^content type +application\/json$/m);
    const json = JSON.parse((await cli(["get", bucketName, "k", "--json"])).stdout) as unknown;
    expect(json).toEqual({
      key: "k",
      value: Buffer.from('{"a":1}').toString("base64"),
      revision: 1,
      created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/) as string,
      operation: "put",
      content_type: "application/json",
    });
  });

  it("asks a person before a purge", async ({ bucket, cli, bucketName }) => {
    await bucket.put("k", "v");
    expect((await cli(["purge", bucketName, "k"], { ...onTerminal, input: "no\n" })).exitCode).toBe(1);
    expect((await bucket.get("k")).text()).toBe("v");
    expect(await cli(["purge", bucketName, "k"])).toMatchObject({ exitCode: 0, stdout: "2\n" });
    expect((await bucket.history("k")).map((entry) => entry.operation)).toEqual(["purge"]);
  });

  it("lists keys and history", async ({ bucket, cli, bucketName }) => {
    await bucket.put("user.1", "a");
    await bucket.put("user.2", "b\nc");
    await bucket.put("other", "");
    await bucket.delete("user.2");
    expect((await cli(["keys", bucketName])).stdout).toBe("other\nuser.1\n");
    expect((await cli(["keys", bucketName, "user.*", "other", "--json"])).stdout).toBe(
      '{"keys":["other","user.1"],"count":2}\n',
    );
    const lines = (await cli(["history", bucketName, "user.2"])).stdout.split("\n");
    expect(lines[0]).toMatch(/^REVISION +TIME +OPERATION +SIZE +VALUE$/);
    expect(lines[1]).toMatch(new RegExp(`^ +2  ${TIME}  put +3 B +b\\\\nc$`));
    expect(lines[2]).toMatch(new RegExp(`^ +4  ${TIME}  delete +0 B$`));
  });
});

describe("watch", () => {
  it("prints each change that matches, a line each", async ({ cli, bucket, bucketName }) => {
    const watching = cli(["watch", bucketName, "user.*", "--start-revision", "1", "--count", "3"]);
    await bucket.put("user.1", "a");
    await bucket.put("other", "x");
    await bucket.put("user.2", "b");
    await bucket.delete("user.1");
    const { exitCode, stdout } = await watching;
    expect(exitCode).toBe(0);
    const lines = stdout.trimEnd().split("\n");
    expect(lines).toHaveLength(3);
    expect(lines.join("\n")).toMatch(new RegExp(`^${TIME}  put +3  user.2  b$`, "m"));
    expect(lines[2]).toMatch(new RegExp(`^${TIME}  delete +4  user.1$`));
  });

  it("prints JSON lines, from a revision on, without values and deletes where they are not wanted", async ({
    bucket,
    cli,
    bucketName,
  }) => {
    await bucket.put("a", "1");
    await bucket.delete("a");
    await bucket.put("a", "2");
    const args = ["watch", bucketName, "--json", "--start-revision", "2", "--ignore-deletes", "--keys-only"];
    const { stdout } = await cli([...args, "--count", "1"]);
    expect(JSON.parse(stdout)).toMatchObject({
      bucket: bucketName,
      key: "a",
      value: "",
      revision: 3,
      operation: "put",
    });
  });

  it("says how many revisions were superseded unseen, and fails in place of it with --every-change", async ({
    kv,
    cli,
  }) => {
    const { name: short } = await kv.createBucket({ name: freshName() });
    for (const value of ["1", "2", "3"]) await kv.bucket(short).put("a", value);
    const args = ["watch", short, "--start-revision", "1", "--count", "1"];
    expect(JSON.parse((await cli([...args, "--json"])).stdout)).toMatchObject({ revision: 3, superseded: 2 });
    expect((await cli(args)).stdout).toMatch(/^2 superseded unseen\n.*put +3 {2}a {2}3$/m);
    const refused = await cli([...args, "--every-change"]);
    expect(refused.exitCode).not.toBe(0);
    expect(refused.stderr).toContain("superseded");
  });

  it("is coloured on a terminal only, and not with NO_COLOR or --no-color", async ({
    bucket,
    cli,
    bucketName,
  }) => {
    await bucket.put("a", "1");
    const args = ["watch", bucketName, "--count", "1"];
    expect((await cli(args, onTerminal)).stdout).toContain("\u001b[32mput");
    const plain = [
      cli(args),
      cli([...args, "--no-color"], onTerminal),
      cli(["--no-color", ...args], onTerminal),
      cli(args, { ...onTerminal, env: { NO_COLOR: "1" } }),
    ];
    for (const { stdout } of await Promise.all(plain)) expect(stdout).not.toContain("\u001b");
  });

  it("says at once that there is no such bucket", async ({ cli }) => {
    expect((await cli(["watch", "nowhere"])).exitCode).toBe(3);
  });
});

describe("delete-keys", () => {
  it.beforeEach(async ({ bucket }) => {
    for (const key of ["user.1", "user.2", "other"]) await bucket.put(key, "v");
  });

  it("deletes what matches, and says how many", async ({ cli, bucket, bucketName }) => {
    expect(await cli(["delete-keys", bucketName, "user.*", "--yes"])).toMatchObject({
      ...{ exitCode: 0, stdout: "deleted 2 keys\n", stderr: "" },
    });
    expect(await bucket.listKeys()).toEqual(["other"]);
    const purged = await cli(["delete-keys", bucketName, ">", "--purge", "--json"]);
    expect(purged).toMatchObject({ exitCode: 0, stdout: '{"deleted":1,"skipped":0}\n' });
    expect(await cli(["delete-keys", bucketName])).toMatchObject({ exitCode: 2 });
  });

  it("asks on a terminal, and deletes nothing unless the answer is yes", async ({
    cli,
    bucket,
    bucketName,
  }) => {
    const refused = await cli(["delete-keys", bucketName, "user.*"], { ...onTerminal, input: "n\n" });
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toContain(`Delete all keys of "${bucketName}" that match "user.*"? [y/N]`);
    expect(await bucket.listKeys()).toHaveLength(3);
    const done = await cli(["delete-keys", bucketName, "user.*"], { ...onTerminal, input: "y\n" });
    expect(done).toMatchObject({ exitCode: 0 });
    expect(await bucket.listKeys()).toEqual(["other"]);
  });
});
