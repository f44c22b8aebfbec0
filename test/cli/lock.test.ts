/** `put --ttl --meta`, `touch`, `lock` and `elect`, as programs. */
import { once } from "node:events";
import { createInterface } from "node:readline";
import { expect } from "vitest";
import { createClient, type Bucket } from "@ironflow-kv/client";
import { serviceTest } from "../support/fixtures.js";
import { freshName } from "../support/service.js";
import { run, runBuilt, start } from "./support.js";

const it = serviceTest()
  .extend("env", { scope: "file" }, ({ service }): Record<string, string> => ({
    IRONFLOW_SERVER: service.url,
    PATH: process.env.PATH ?? "",
  }))
  .extend("bucket", { scope: "file" }, async ({ service }): Promise<Bucket> => {
    const kv = createClient({ serverUrl: service.url }).kv();
    return kv.bucket((await kv.createBucket({ name: freshName() })).name);
  });

it("stores a TTL and metadata, shows them, and touches", async ({ bucket, env }) => {
  const args = ["put", bucket.name, "k", "v", "--ttl", "1m", "--meta", "author=Ann", "--meta", "note=a=b"];
  expect(await run(args, { env })).toMatchObject({ exitCode: 0, stderr: "" });
  const shown = JSON.parse((await run(["get", bucket.name, "k", "--json"], { env })).stdout) as {
    created_at: string;
    expires_at: string;
    metadata: unknown;
  };
  expect(Date.parse(shown.expires_at) - Date.parse(shown.created_at)).toBe(60_000);
  expect(shown.metadata).toEqual({ author: "Ann", note: "a=b" });
  expect((await run(["get", bucket.name, "k", "--meta"], { env })).stdout).toMatch(/meta author +Ann/);
  expect(await run(["touch", bucket.name, "k"], { env })).toMatchObject({ exitCode: 0, stdout: "2\n" });
  expect((await bucket.get("k")).expiresAt).toBeUndefined();
  expect(await run(["put", bucket.name, "k", "v", "--meta", "x"], { env })).toMatchObject({ exitCode: 2 });
  expect(await run(["touch", bucket.name, "none"], { env })).toMatchObject({ exitCode: 3 });
});

it("runs a program while it holds the lock, and ends as the program does", async ({ bucket, env }) => {
  const script = "echo $IRONFLOW_LOCK $IRONFLOW_FENCING_TOKEN --json; exit 9";
  const held = await runBuilt(["lock", bucket.name, "jobs", "--", "sh", "-c", script], { env });
  expect(held).toMatchObject({ exitCode: 9, stderr: "" });
  expect(held.stdout).toMatch(/^jobs [1-9]\d* --json\n$/);
  expect(await bucket.tryGet("jobs")).toBeUndefined();
  const missing = await runBuilt(["lock", bucket.name, "jobs", "--", "/nonexistent/program"], { env });
  expect([missing.exitCode, await bucket.tryGet("jobs")]).toEqual([1, undefined]);
});

it("waits for the lock, stops the program when it is lost, and says so", async ({ bucket, env }) => {
  const lock = await bucket.lock("nightly");
  const busy = await runBuilt(["lock", bucket.name, "nightly", "--wait", "0", "--", "true"], { env });
  expect(busy).toMatchObject({ exitCode: 5, stdout: "" });
  await lock.release();
  const child = start(
    ["lock", bucket.name, "nightly", "--ttl", "1s", "--", "sh", "-c", "echo started; exec sleep 600"],
    env,
  );
  const exit = once(child, "exit") as Promise<[number | null]>;
  let stderr = "";
  child.stderr.on("data", (data) => (stderr += String(data)));
  for await (const line of createInterface({ input: child.stdout })) {
    expect(line).toBe("started");
    break;
  }
  await bucket.delete("nightly");
  expect((await exit)[0]).toBe(4);
  expect(stderr).toContain('The lease "nightly" was lost');
});

it("elects a leader, whose name others can read", async ({ bucket, env }) => {
  const program = ["sh", "-c", `exec ${process.execPath} dist/src/main.js get ${bucket.name} leader`];
  const elected = await runBuilt(["elect", bucket.name, "leader", "--value", "host-1", "--", ...program], {
    env,
  });
  expect(elected).toMatchObject({ exitCode: 0, stdout: "host-1" });
});
