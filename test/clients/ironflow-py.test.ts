/** The public Python SDK of Ironflow, unchanged, against the service. Skipped where there is no Python 3.11 with pip, or no package index. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, describe, expect } from "vitest";
import { serviceTest } from "../support/fixtures.js";
import { freshName } from "../support/service.js";

const run = promisify(execFile);
const PACKAGE = "ironflow-py==0.53.0";
const folder = mkdtempSync(join(tmpdir(), "ironflow-py-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const isInstalled = await run(
  "python3",
  ["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--target", folder, PACKAGE],
  { timeout: 60_000 },
).then(
  () => true,
  () => false,
);
if (!isInstalled)
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

const it = serviceTest();

describe.runIf(isInstalled)("the Python SDK of Ironflow", () => {
  it("reads health, readiness and capabilities, and works with buckets and keys", async ({ service }) => {
    const bucket = freshName();
    const { stdout } = await run("python3", ["-c", SCRIPT, service.url, bucket], {
      env: { ...process.env, PYTHONPATH: folder, IRONFLOW_API_KEY: "" },
      timeout: 60_000,
    });
    const text = expect.any(String) as string;
    const shown = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as unknown);
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
});
