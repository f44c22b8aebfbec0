/** The built program as a process: what only a process shows. */
import { once } from "node:events";
import { createInterface } from "node:readline";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect } from "vitest";
import { createClient, type KeyValue } from "@ironflow-kv/client";
import { serviceTest } from "../support/fixtures.js";
import { freshName } from "../support/service.js";
import { runBuilt, start } from "./support.js";

const it = serviceTest()
  .extend("kv", { scope: "file" }, ({ service }): KeyValue => createClient({ serverUrl: service.url }).kv())
  .extend("env", { scope: "file" }, ({ service }): Record<string, string> => ({
    IRONFLOW_SERVER: service.url,
  }))
  .extend(
    "bucket",
    { scope: "file" },
    async ({ kv }): Promise<string> => (await kv.createBucket({ name: freshName() })).name,
  );

describe("the built program", () => {
  it("writes and reads bytes exactly: from standard input, from a file, to standard output", async ({
    bucket,
    env,
  }) => {
    const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
    const directory = await mkdtemp(join(tmpdir(), "ironflow-cli-"));
    const file = join(directory, "value");
    await writeFile(file, bytes);
    const [piped, fromFile] = await Promise.all([
      runBuilt(["put", bucket, "piped"], { env, input: bytes }),
      runBuilt(["put", bucket, "file", "--file", file], { env }),
    ]);
    expect([piped, fromFile]).toMatchObject([
      { exitCode: 0, stderr: "" },
      { exitCode: 0, stderr: "" },
    ]);
    expect([piped.stdout, fromFile.stdout].sort()).toEqual(["1\n", "2\n"]);
    const [one, other] = await Promise.all([
      runBuilt(["get", bucket, "piped"], { env }),
      runBuilt(["get", bucket, "file"], { env }),
    ]);
    expect([...one.bytes]).toEqual([...bytes]);
    expect([...other.bytes]).toEqual([...bytes]);
    await rm(directory, { recursive: true });
  });

  it("prints a value without a line end of its own, and ends when it is done", async ({
    kv,
    bucket,
    env,
  }) => {
    await kv.bucket(bucket).put("plain", "hello");
    expect(await runBuilt(["get", bucket, "plain"], { env })).toMatchObject({
      exitCode: 0,
      stdout: "hello",
      stderr: "",
    });
  });

  it("reports a failure by one line and an exit code", async ({ bucket, env }) => {
    const [missing, unreachable] = await Promise.all([
      runBuilt(["get", bucket, "absent"], { env }),
      runBuilt(["get", bucket, "k", "--timeout", "200ms"], {
        env: { IRONFLOW_SERVER: "http://127.0.0.1:9" },
      }),
    ]);
    expect(missing).toMatchObject({ exitCode: 3, stdout: "" });
    expect(missing.stderr).toMatch(/^ironflow-kv: .*\n$/);
    expect(unreachable).toMatchObject({ exitCode: 5, stdout: "" });
    expect(unreachable.stderr).toMatch(/^ironflow-kv: .*\n$/);
  });

  it("ends a watch by Ctrl-C with exit code 0", async ({ kv, env }) => {
    const watched = (await kv.createBucket({ name: freshName() })).name;
    await kv.bucket(watched).put("a", "1");
    const child = start(["watch", watched, "--json"], env);
    const exited = once(child, "exit");
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    expect(await lines.next()).toMatchObject({ value: expect.stringContaining('"key":"a"') as string });
    await kv.bucket(watched).put("b", "2");
    expect(await lines.next()).toMatchObject({ value: expect.stringContaining('"key":"b"') as string });
    child.kill("SIGINT");
    expect(await exited).toEqual([0, null]);
  });

  it("ends quietly when nobody reads its output any more", async ({ kv, env }) => {
    const many = kv.bucket((await kv.createBucket({ name: freshName() })).name);
    await many.put("k", "x".repeat(1_000_000));
    const child = start(["watch", many.name, "--json"], env);
    const exited = once(child, "exit");
    let stderr = "";
    child.stderr.on("data", (chunk) => (stderr += String(chunk)));
    await once(child.stdout, "data");
    child.stdout.destroy();
    await many.put("k", "x".repeat(1_000_000));
    expect(await exited).toEqual([0, null]);
    expect(stderr).toBe("");
  });

  it("knows its version", async () => {
    expect((await runBuilt(["--version"])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});
