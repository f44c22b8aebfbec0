/** Options, errors and exit codes of the command line. */
import { describe, expect } from "vitest";
import type { ServeFlags } from "../../src/cli/serve-command.js";
import { run } from "./support.js";
import { API_KEY, verbTest } from "./verb-test.js";

const it = verbTest();

describe("errors", () => {
  it.for<[string, number, readonly string[], Readonly<Record<string, string>>?]>([
    ["no verb that is known", 2, ["frob"]],
    ["an unknown option", 2, ["keys", "b", "--frob"]],
    ["a missing argument", 2, ["get", "b"]],
    ["too many arguments", 2, ["history", "b", "k", "x"]],
    ["an update without a revision", 2, ["update", "b", "k", "v"]],
    ["a malformed revision", 2, ["update", "b", "k", "v", "--if-revision", "x"]],
    ["a malformed span", 2, ["bucket", "create", "b", "--ttl", "5x"]],
    ["a malformed size", 2, ["bucket", "create", "b", "--max-bytes", "5XB"]],
    ["a change of nothing", 2, ["bucket", "update", "b"]],
    ["a value and a file", 2, ["put", "b", "k", "v", "--file", "x"]],
    ["a malformed server", 2, ["keys", "b", "--server", "localhost"]],
    ["a malformed time", 2, ["keys", "b", "--timeout", "0"]],
    ["two starts of a watch", 2, ["watch", "b", "--start", "now", "--start-revision", "1"]],
    ["a malformed bucket name", 2, ["bucket", "create", "a.b"]],
    ["a malformed filter", 2, ["keys", "nowhere", "a.>.b"]],
    ["a bucket that is not there", 3, ["keys", "nowhere"]],
    ["a file that is not there", 1, ["put", "b", "k", "--file", "/nowhere/at/all"]],
    ["a wrong key", 6, ["bucket", "ls"], { IRONFLOW_API_KEY: "wrong" }],
    ["no key", 6, ["bucket", "ls"], { IRONFLOW_API_KEY: "" }],
    ["no server", 5, ["bucket", "ls", "--timeout", "100ms"], { IRONFLOW_SERVER: "http://127.0.0.1:9" }],
  ])("%s ends with exit code %i and one line", async ([, exitCode, args, env = {}], { cli }) => {
    const result = await cli(args, { env });
    expect(result).toMatchObject({ exitCode, stdout: "" });
    expect(result.stderr).toMatch(/^ironflow-kv: [^\n]+\n$/);
  });

  it("are JSON with --json", async ({ bucket, cli, bucketName }) => {
    await bucket.put("k", "v");
    const { exitCode, stderr } = await cli(["create", bucketName, "k", "x", "--json"]);
    expect(exitCode).toBe(4);
    expect(JSON.parse(stderr)).toEqual({
      error: expect.any(String) as string,
      code: "key_exists",
      revision: 1,
    });
  });

  it("an interrupt ends with exit code 130, without a word", async ({ cli, bucketName }) => {
    const interrupted = await cli(["keys", bucketName], { signal: AbortSignal.abort() });
    expect(interrupted).toEqual({ exitCode: 130, stdout: "", stderr: "" });
  });

  it("limits end with exit code 7", async ({ kv, cli, bucketName }) => {
    await kv.updateBucket(bucketName, { maxValueSize: 4 });
    expect((await cli(["put", bucketName, "k", "too large"])).exitCode).toBe(7);
  });
});

describe("options", () => {
  it("may stand before the verb; the one nearest to it wins", async ({ cli, service, bucketName }) => {
    const before = await cli(["--server", service.url, "--json", "keys", bucketName], {
      env: { IRONFLOW_SERVER: "http://127.0.0.1:9" },
    });
    expect(before.stdout).toBe('{"keys":[],"count":0}\n');
    const both = await cli(["--server", "http://127.0.0.1:9", "keys", bucketName, "--server", service.url]);
    expect(both.exitCode).toBe(0);
    const wrong = { env: { IRONFLOW_API_KEY: "wrong" } };
    expect((await cli(["keys", bucketName, "--api-key", API_KEY], wrong)).exitCode).toBe(0);
  });

  it("of serve are its own, by the name of the setting", async () => {
    const seen: ServeFlags[] = [];
    const serve = (flags: ServeFlags): Promise<number> => Promise.resolve(seen.push(flags) + 6);
    const args = ["serve", "--port", "1", "--api-key", "k", "--data-dir", "d"];
    expect((await run(args, { serve })).exitCode).toBe(7);
    expect(seen).toEqual([{ port: "1", "api-key": "k", "data-dir": "d" }]);
    const lost = await run(["--api-key", "k", "serve"], { serve });
    expect(lost).toMatchObject({ exitCode: 2 });
    expect(seen).toHaveLength(1);
  });

  it("are all in the help, with the exit codes", async () => {
    const { exitCode, stdout } = await run(["--help"]);
    expect(exitCode).toBe(0);
    for (const verb of [
      "serve",
      "bucket",
      "get",
      "put",
      "create",
      "update",
      "touch",
      "txn",
      "scan",
      "delete-keys",
      "config",
      "del",
      "purge",
      "keys",
      "history",
      "watch",
    ]) {
      expect(stdout).toMatch(new RegExp(`^  ${verb}\\b`, "m"));
    }
    expect(stdout).toContain("Exit codes:");
    expect((await run(["--version"])).stdout).toBe("1.2.3\n");
  });
});
