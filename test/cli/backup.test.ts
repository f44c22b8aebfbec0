/** Backups against a real service: what was exported is what is restored. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createClient, type KeyValue } from "../../src/client/index.js";
import { freshName, startTestService, type TestService } from "../support/service.js";
import { run } from "./support.js";

let service: TestService;
let kv: KeyValue;
let directory: string;
beforeAll(async () => {
  service = await startTestService();
  kv = createClient({ serverUrl: service.url }).kv();
  directory = await mkdtemp(join(tmpdir(), "ironflow-backup-"));
});
afterAll(async () => {
  await service.remove();
  await rm(directory, { recursive: true, force: true });
});

describe("smoke", () => {
  it("works", async () => {
    const name = freshName();
    await kv.createBucket({ name, history: 3, description: "x" });
    const b = kv.bucket(name);
    await b.put("a", "1"); await b.put("a", "2"); await b.delete("a"); await b.put("b", new Uint8Array(10)); await b.purge("b");
    const file = join(directory, "f");
    const env = { IRONFLOW_SERVER: service.url };
    console.log(await run(["export", "-o", file], { env }));
    console.log(await run(["verify", file], { env }));
    console.log(await run(["import", file], { env }));
    await kv.deleteBucket(name);
    console.log(await run(["import", file], { env }));
    console.log(await b.history("a"), await b.history("b"), await kv.getBucketInfo(name));
    console.log((await readFile(file)).toString("latin1"));
  });
});
