/** The examples run as written, on the built package, and the SDK stays fit for browsers. */
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { createClient } from "@ironflow-kv/client";
import { startTestService } from "../support/service.js";

const ROOT = join(import.meta.dirname, "../..");

describe("examples/sdk.ts", () => {
  it("runs against a service, and leaves nothing behind", async () => {
    const service = await startTestService();
    const env = { PATH: process.env.PATH, IRONFLOW_SERVER: service.url };
    const { stdout, stderr } = await promisify(execFile)(
      process.execPath,
      [join(ROOT, "dist/examples/sdk.js")],
      { env },
    );
    expect(stderr).toBe("");
    expect(stdout).toBe(`created sessions: entries live 3600 s, 5 revisions per key
buckets: sessions
user:123 is {"name":"Alice"} at revision 1
conflict: k is at revision 3, not 2
k was v, v2, deleted
user.7: 1 of 2 keys
put user.7 = Bob
delete user.7
user.7 was deleted
`);
    expect(await createClient({ serverUrl: service.url }).kv().listBuckets()).toEqual([]);
    await service.remove();
  });
});

describe("the SDK's files", () => {
  const WITHOUT_NODE = new Set([
    "@bufbuild/protobuf",
    "@bufbuild/protobuf/wire",
    "@bufbuild/protobuf/wkt",
    "@connectrpc/connect",
    "@connectrpc/connect-web",
  ]);
  /** The files of Node's entry point alone. */
  const NODE_FILES = new Set(["index-node.ts", "node-transport.ts"]);
  const files = readdirSync(join(ROOT, "packages/client/src")).filter(
    (file) => file.endsWith(".ts") && !NODE_FILES.has(file),
  );

  it.each(files)("%s imports nothing that a browser does not have", (file) => {
    const source = readFileSync(join(ROOT, "packages/client/src", file), "utf8");
    expect(source).not.toMatch(/"\.\/(http2\/|index-node|node-transport)/);
    const packages = [...source.matchAll(/from "([^".][^"]*)"/g)].map((match) => match[1] ?? "");
    expect(packages.filter((name) => !WITHOUT_NODE.has(name))).toEqual([]);
    expect(source).not.toMatch(/\bBuffer\b|\brequire\(|\bimport\(/);
  });
});
