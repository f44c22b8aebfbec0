/** The public Python SDK of Ironflow, unchanged, against the service. Runs with EXTENDED=1, and where Python 3.11 has pip and a package index. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, describe, expect } from "vitest";
import { isExtendedFor } from "../support/extended.js";
import { serviceTest } from "../support/fixtures.js";
import { freshName } from "../support/service.js";
import { succeeds } from "../support/until.js";

const run = promisify(execFile);
const PACKAGE = "ironflow-py==0.53.0";
/** For its watches. */
const WEBSOCKETS = "websockets==15.0.1";
const folder = mkdtempSync(join(tmpdir(), "ironflow-py-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--target", folder];
const isExtended = isExtendedFor(`the tests of ${PACKAGE}`, "it is installed");
const isInstalled =
  isExtended && (await succeeds(run("python3", [...pip, PACKAGE, WEBSOCKETS], { timeout: 60_000 })));
if (isExtended && !isInstalled)
  console.log(`The tests of ${PACKAGE} are skipped: it could not be installed with python3 -m pip.`);

/** Calls the client and prints what each call returned, one JSON value a line. */
const SCRIPT = `
import json, sys
from ironflow import IronflowClient, IronflowError
client, bucket = IronflowClient(server_url=sys.argv[1]), sys.argv[2]
def show(call, *arguments, **options):
    try:
        print(json.dumps(call(*arguments, **options)))
    except IronflowError as error:
        print(json.dumps(error.status_code))
show(client.health)
show(client.ready)
show(client.capabilities)
show(client.kv_buckets, {"name": bucket, "history": 3})
show(client.kv_buckets, {"name": bucket})
show(client.kv_update_buckets_keys, bucket, "user.1", {"name": "Ann"})
show(client.kv_update_buckets_keys, bucket, "user.1", "x", if_match="7")
show(client.kv_get_buckets_keys, bucket, "user.1")
show(client.kv_list_buckets_keys, bucket, filter="user.*")
show(client.kv_get_buckets, bucket)
show(client.kv_delete_buckets_keys, bucket, "user.1")
show(client.kv_get_buckets_keys, bucket, "user.1")
show(client.kv_delete_buckets, bucket)
show(lambda: [b["name"] for b in client.kv_list_buckets()["buckets"]])
`;

/** The calls of configs, and a watch that sees each of them. */
const CONFIG_SCRIPT = `
import asyncio
${SCRIPT.slice(0, SCRIPT.indexOf("show(client.health)"))}
name = bucket
show(client.config_create, name, {"a": {"b": 1}, "c": 2}, if_none_match="*")
show(client.config_create, name, {"a": 1}, if_none_match="*")
show(client.config_get, name)
show(client.config_patch, name, {"a": 3, "d": None})
show(client.config_patch, name, {"a": 4}, if_match="999")
show(lambda: client.config_get(name)["data"])
show(lambda: [c for c in client.config_list()["configs"] if c["name"] == name])
async def watch():
    updates = client.watch_config(name)
    seen = []
    async for update in updates:
        seen.append([update.name, update.data])
        if len(seen) == 1: client.config_patch(name, {"d": 5})
        if len(seen) == 2: client.config_delete(name)
        if len(seen) == 3: break
    await updates.aclose()
    return seen
print(json.dumps(asyncio.run(watch())))
show(client.config_get, name)
`;

const it = serviceTest();
const text = expect.any(String) as string;

/** What a script prints: a JSON value in each line. */
async function linesOf(script: string, ...args: string[]): Promise<unknown[]> {
  const { stdout } = await run("python3", ["-c", script, ...args], {
    env: { ...process.env, PYTHONPATH: folder, IRONFLOW_API_KEY: "" },
    timeout: 60_000,
  });
  return stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as unknown);
}

describe.runIf(isInstalled)("the Python SDK of Ironflow", () => {
  it("reads health, readiness and capabilities, and works with buckets and keys", async ({ service }) => {
    const bucket = freshName();
    const shown = await linesOf(SCRIPT, service.url, bucket);
    expect(shown.slice(0, 7)).toEqual([
      { status: "ok", timestamp: text, version: text },
      { status: "ready" },
      expect.objectContaining({ auth_required: false, version: text }),
      expect.objectContaining({ name: bucket, history: 3, values: 0 }),
      409,
      { revision: 1 },
      412,
    ]);
    const entry = shown[7] as { value: string };
    expect(entry).toMatchObject({ key: "user.1", revision: 1, operation: "put" });
    expect(JSON.parse(Buffer.from(entry.value, "base64").toString())).toEqual({ name: "Ann" });
    expect(shown[8]).toEqual({ keys: ["user.1"], count: 1 });
    expect(shown[9]).toMatchObject({ name: bucket, values: 1 });
    expect(shown[11]).toBe(404);
    expect(shown[13]).not.toContain(bucket);
  });

  it("writes, reads, merges, lists, watches and deletes configs", async ({ service }) => {
    const name = freshName();
    const shown = await linesOf(CONFIG_SCRIPT, service.url, name);
    expect(shown).toEqual([
      { name, revision: 1 },
      412,
      { name, data: { a: { b: 1 }, c: 2 }, revision: 1, updatedAt: text },
      { name, revision: 2 },
      412,
      { a: 3, c: 2, d: null },
      [{ name, revision: 2, updatedAt: text }],
      [
        [name, { a: 3, c: 2, d: null }],
        [name, { a: 3, c: 2, d: 5 }],
        [name, null],
      ],
      404,
    ]);
  });
});
