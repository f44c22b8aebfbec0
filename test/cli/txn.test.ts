/** `txn`: a JSON list of operations, applied together or not at all. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { createClient } from "@ironflow-kv/client";
import { serviceTest } from "../support/fixtures.js";
import { freshName } from "../support/service.js";
import { run } from "./support.js";

const it = serviceTest()
  .extend("bucket", async ({ service }) => {
    const kv = createClient({ serverUrl: service.url }).kv();
    return kv.bucket((await kv.createBucket({ name: freshName() })).name);
  })
  .extend("txn", ({ service, bucket }) => (operations: unknown) => {
    const env = { IRONFLOW_SERVER: service.url };
    const input = typeof operations === "string" ? operations : JSON.stringify(operations);
    return run(["txn", bucket.name], { env, input });
  });

it("applies what it reads from standard input, and prints the revisions", async ({ bucket, txn }) => {
  const { revision } = await bucket.put("a", "1");
  await bucket.put("gone", "1");
  const result = await txn([
    { check: "a", revision: Number(revision) },
    { check: "none", absent: true },
    { unchanged: "orders.*", since: 1 },
    { put: "b", value: "two", if_absent: true, ttl_seconds: 60, metadata: { by: "me" }, content_type: "x/y" },
    { delete: "gone" },
    { purge: "other" },
  ]);
  expect(result).toMatchObject({ exitCode: 0, stderr: "" });
  const printed = result.stdout.trim().split("\n").map(Number);
  expect(printed.slice(0, 3)).toEqual([0, 0, 0]);
  const entry = await bucket.get("b");
  expect(printed[3]).toBe(Number(entry.revision));
  expect([entry.text(), entry.contentType, entry.metadata]).toEqual(["two", "x/y", { by: "me" }]);
  expect(await bucket.listKeys()).toEqual(["a", "b"]);
});

it("reads a file, and writes nothing where a condition does not hold", async ({ service, bucket }) => {
  const folder = await mkdtemp(join(tmpdir(), "ironflow-txn-"));
  const file = join(folder, "operations.json");
  const operations = [
    { put: "a", value: "1" },
    { check: "b", revision: 9 },
  ];
  await writeFile(file, JSON.stringify(operations));
  const result = await run(["txn", bucket.name, file], { env: { IRONFLOW_SERVER: service.url } });
  expect(result.exitCode).toBe(4);
  expect(await bucket.listKeys()).toEqual([]);
  await rm(folder, { recursive: true });
});

it.for([
  ["no JSON", "{", "not JSON"],
  ["no list", "{}", "not a JSON list of objects"],
  ["no operation", [{ key: "a" }], "needs exactly one of check, unchanged, put, delete, purge"],
  ["two operations", [{ put: "a", delete: "a" }], "needs exactly one of"],
  ["an unknown field", [{ put: "a", value: "1", ttl: 5 }], 'has "ttl"; it takes value'],
  ["no value", [{ put: "a" }], "is missing or no text"],
  ["a check of nothing", [{ check: "a" }], "is missing; it must be a number"],
  ["a check of both", [{ check: "a", revision: 1, absent: true }], "needs either a revision or"],
  ["a revision that is no number", [{ delete: "a", if_revision: "x" }], "it must be a number"],
  ["a revision of 0", [{ check: "a", revision: 0 }], "1 or more"],
] as const)("refuses %s", async ([, operations, sentence], { txn }) => {
  const { exitCode, stderr } = await txn(operations);
  expect(exitCode).toBe(2);
  expect(stderr).toContain(sentence);
});
