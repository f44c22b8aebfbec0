/** Options, errors and exit codes of the command line. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Bucket, createClient, type KeyValue } from "@ironflow-kv/client";
import type { ServeFlags } from "../../src/cli/serve-command.js";
import { freshName, startTestService, type TestService } from "../support/service.js";
import { run, type Run, type RunOptions } from "./support.js";

const API_KEY = "the-right-key-of-tests";

let service: TestService;
let kv: KeyValue;
let bucket: Bucket;
let name: string;

beforeAll(async () => {
  service = await startTestService({ "api-key": API_KEY });
  kv = createClient({ serverUrl: service.url, apiKey: API_KEY }).kv();
});
beforeEach(async () => {
  ({ name } = await kv.createBucket({ name: freshName(), history: 5 }));
  bucket = kv.bucket(name);
});
afterAll(() => service.remove());

/** Runs a command line against the service, with the right key. */
function cli(args: readonly string[], options: RunOptions = {}): Promise<Run> {
  const env = { IRONFLOW_SERVER: service.url, IRONFLOW_API_KEY: API_KEY, ...options.env };
  return run(args, { ...options, env });
}

describe("errors", () => {
  it.each<[string, number, readonly string[], Readonly<Record<string, string>>?]>([
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
  ])("%s ends with exit code %i and one line", async (_, exitCode, args, env = {}) => {
    const result = await cli(args, { env });
    expect(result).toMatchObject({ exitCode, stdout: "" });
    expect(result.stderr).toMatch(/^ironflow-kv: [^\n]+\n$/);
  });

  it("are JSON with --json", async () => {
    await bucket.put("k", "v");
    const { exitCode, stderr } = await cli(["create", name, "k", "x", "--json"]);
    expect(exitCode).toBe(4);
    expect(JSON.parse(stderr)).toEqual({
      error: expect.any(String) as string,
      code: "key_exists",
      revision: 1,
    });
  });

  it("an interrupt ends with exit code 130, without a word", async () => {
    const interrupted = await cli(["keys", name], { signal: AbortSignal.abort() });
    expect(interrupted).toEqual({ exitCode: 130, stdout: "", stderr: "" });
  });

  it("limits end with exit code 7", async () => {
    await kv.updateBucket(name, { maxValueSize: 4 });
    expect((await cli(["put", name, "k", "too large"])).exitCode).toBe(7);
  });
});

describe("options", () => {
  it("may stand before the verb; the one nearest to it wins", async () => {
    const before = await cli(["--server", service.url, "--json", "keys", name], {
      env: { IRONFLOW_SERVER: "http://127.0.0.1:9" },
    });
    expect(before.stdout).toBe('{"keys":[],"count":0}\n');
    const both = await cli(["--server", "http://127.0.0.1:9", "keys", name, "--server", service.url]);
    expect(both.exitCode).toBe(0);
    const wrong = { env: { IRONFLOW_API_KEY: "wrong" } };
    expect((await cli(["keys", name, "--api-key", API_KEY], wrong)).exitCode).toBe(0);
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
