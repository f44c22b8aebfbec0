/** Batches of independent writes are staged in memory, and leave nothing there. */
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Store } from "../../src/kv/store.js";
import type { EmbeddedNats } from "../../src/nats/embedded/embedded-nats.js";
import { startEmbedded } from "../../src/nats/embedded/embedded-server.js";
import { memoryStaging } from "../../src/nats/embedded/memory-staging.js";
import { createStagingFolder, stagingFolderOf } from "../../src/nats/embedded/staging-folder.js";
import { StagedBatches } from "../../src/nats/write/staged-batches.js";
import { needsServer } from "../support/nats-program.js";
import { succeeds, until } from "../support/until.js";
import { bytes, historyOf, refusal, scope, text } from "./store-contract.js";
import { openStore } from "./store-support.js";

const BUCKET = { name: "staged", ttlMs: 0, maxBytes: 0, maxValueSize: 0, history: 5, description: "" };
const STREAMS = join("jetstream", "$G", "streams");
const PAGE = { limit: 1, pageToken: "" };
const WRITES_AT_ONCE = 200;
const NO_LOG = { info: () => undefined, warn: () => undefined, error: () => undefined };

let scratch: string;
let dataDir: string;
let memory: string;
const cleanUp: (() => Promise<unknown>)[] = [];
beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), "ironflow-staging-"));
  [dataDir, memory] = [join(scratch, "data"), join(scratch, "memory")];
  await mkdir(memory);
});
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
  await rm(scratch, { recursive: true, force: true });
});

async function start(stagingDir: string): Promise<{ server: EmbeddedNats; store: Store }> {
  const server = await startEmbedded({ dataDir, durability: "safe", stagingDir });
  cleanUp.push(() => server.stop());
  const { user, pass } = server;
  const staging = await memoryStaging(stagingDir, dataDir);
  const open = await openStore(server.url, { user: { user, pass }, staging });
  cleanUp.push(() => open.close());
  return { server, store: open.store };
}

const staged = (store: Store): number => store.groupCommits()?.staged ?? 0;

async function putAll(store: Store, round: number): Promise<void> {
  const keys = Array.from({ length: WRITES_AT_ONCE }, (_, n) => `k${n}`);
  await Promise.all(keys.map((key) => store.put(BUCKET.name, key, bytes(`${round}`), {}, scope())));
}

/** Writes until a batch was staged in memory: the first ones prepare that. Returns the last value. */
async function untilStaged(store: Store): Promise<number> {
  const before = staged(store);
  for (let round = 1; round <= 50; round++) {
    await putAll(store, round);
    if (staged(store) > before) return round;
  }
  throw new Error("no batch was staged in memory");
}

/** What the streams' folders have of batches. */
async function batchesOnDisk(): Promise<string[]> {
  const names = await readdir(join(dataDir, STREAMS));
  const folders = names.map((name) => readdir(join(dataDir, STREAMS, name, "batches")).catch(() => []));
  return (await Promise.all(folders)).flat();
}

async function inMemory(): Promise<string[]> {
  const folders = await readdir(memory);
  return (await Promise.all(folders.map((name) => readdir(join(memory, name))))).flat();
}

describe("batches of independent writes", needsServer("2.15.1"), () => {
  it("are staged in memory, stored like others, and leave nothing behind", async () => {
    const { store, server } = await start(memory);
    await store.createBucket(BUCKET, scope());
    const last = await untilStaged(store);
    for (let n = 0; n < WRITES_AT_ONCE; n += 40)
      expect(text((await store.get(BUCKET.name, `k${n}`, 0n, scope())).value)).toBe(`${last}`);
    // What is left is prepared for the next batches, empty.
    await until("what was staged is removed", async () => (await inMemory()).length <= 2);
    expect((await batchesOnDisk()).length).toBeLessThanOrEqual(2);
    await store.close();
    await server.stop();
    expect(await readdir(memory)).toEqual([]);
  });

  it("do without memory for commits, whose writes a power cut must not part", async () => {
    const { store } = await start(memory);
    await store.createBucket(BUCKET, scope());
    await untilStaged(store);
    const before = { ...store.groupCommits(), batches: undefined };
    const commits = Array.from({ length: 30 }, (_, n) =>
      store.commit(
        BUCKET.name,
        [`a${n}`, `b${n}`].map((key) => ({
          type: "put" as const,
          key,
          value: bytes("1"),
          options: { condition: "always" as const },
        })),
        {},
        scope(),
      ),
    );
    await Promise.all(commits);
    expect(staged(store)).toBe(before.staged);
  });

  it("are applied once when nats-server is killed in the middle of them", async () => {
    const { store, server } = await start(memory);
    await store.createBucket(BUCKET, scope());
    await untilStaged(store);
    for (let round = 0; round < 4; round++) {
      const before = staged(store);
      const keys = Array.from({ length: 400 }, (_, n) => `r${round}.${n}`);
      const writes = keys.map((key) => store.put(BUCKET.name, key, bytes("1"), {}, scope(30_000)));
      let isOver = false;
      void Promise.allSettled(writes).then(() => (isOver = true));
      await until(
        "a batch is on its way, or all are over",
        async () => isOver || staged(store) > before || (await inMemory()).length > 2,
      );
      process.kill(server.pid, "SIGKILL");
      const outcomes = await Promise.allSettled(writes);
      const isBack = (): Promise<boolean> =>
        succeeds(Promise.all([store.ping(scope()), store.history(BUCKET.name, "k0", PAGE, scope())]));
      await until("the storage is back", isBack);
      for (const [index, key] of keys.entries()) {
        const outcome = outcomes[index];
        if (outcome?.status === "fulfilled") {
          const history = await historyOf(store, BUCKET.name, key, scope());
          expect(history.map(({ revision }) => revision)).toEqual([outcome.value]);
        } else {
          // It was not sent yet.
          expect(outcome?.reason).toMatchObject({ kind: "unavailable" });
          expect(await refusal(store.get(BUCKET.name, key, 0n, scope()))).toMatchObject({
            kind: "key_not_found",
          });
        }
      }
      await untilStaged(store);
    }
  });

  it("are staged on disk where the folder in memory is lost, full, off or not writable", async () => {
    const { store } = await start(memory);
    await store.createBucket(BUCKET, scope());
    await untilStaged(store);
    for (const name of await readdir(memory)) await rm(join(memory, name), { recursive: true });
    // Those that were prepared before are refused, and their writes sent alone.
    const { batches } = store.groupCommits() ?? { batches: 0 };
    await until("a batch is staged on disk", async () => {
      const before = staged(store);
      await putAll(store, 9);
      return staged(store) === before && (store.groupCommits()?.batches ?? 0) > batches + 3;
    });
    expect(text((await store.get(BUCKET.name, "k7", 0n, scope())).value)).toBe("9");

    expect(await memoryStaging("off", dataDir)).toBeUndefined();
    const file = join(scratch, "file");
    await writeFile(file, "");
    const warnings: string[] = [];
    const log = { ...NO_LOG, warn: (line: string) => warnings.push(line) };
    expect(await createStagingFolder(file, dataDir, log)).toBeUndefined();
    expect(warnings).toEqual([expect.stringMatching(/^Batches of writes are staged on disk.*ENOTDIR/)]);
    expect(await memoryStaging(file, dataDir)).toBeUndefined();
  });

  it("find the folder without what an earlier run left", async () => {
    await mkdir(dataDir);
    const folder = (await stagingFolderOf(memory, dataDir)) ?? "";
    await mkdir(join(folder, "left"), { recursive: true });
    await start(memory);
    expect(await readdir(memory)).toHaveLength(1);
    expect(await readdir(folder)).toEqual([]);
  });
});

describe("staging in memory", () => {
  async function prepared(): Promise<NonNullable<Awaited<ReturnType<typeof memoryStaging>>>> {
    await mkdir(join(dataDir, STREAMS, "s"), { recursive: true });
    await createStagingFolder(memory, dataDir, NO_LOG);
    const staging = await memoryStaging(memory, dataDir);
    if (staging === undefined) throw new Error("no staging");
    return staging;
  }

  it("ends with a server that stages elsewhere", async () => {
    const staging = await prepared();
    for (let n = 0; n < 16; n++) {
      const batch = await staging.prepare("s", `batch${n}`);
      expect(batch?.hold(100)).toBe(true);
      await batch?.release();
    }
    expect(await staging.prepare("s", "last")).toBeUndefined();
    expect([await batchesOnDisk(), await inMemory()]).toEqual([[], []]);
  });

  it("takes 16 MiB at most, whatever is staged at once", async () => {
    const staging = await prepared();
    const [first, second] = [await staging.prepare("s", "first"), await staging.prepare("s", "second")];
    expect(first?.hold(10 * 1_048_576)).toBe(true);
    expect(second?.hold(7 * 1_048_576)).toBe(false);
    await first?.release();
    expect(second?.hold(16 * 1_048_576)).toBe(true);
  });

  it("gives back what is prepared when its stream is forgotten meanwhile", async () => {
    const staging = await prepared();
    const preparing: Promise<unknown>[] = [];
    const prepare = (stream: string, id: string): ReturnType<typeof staging.prepare> => {
      const batch = staging.prepare(stream, id);
      preparing.push(batch);
      return batch;
    };
    let count = 0;
    const staged = new StagedBatches({ prepare }, "s", () => `batch${count++}`);
    staged.take(100);
    staged.close();
    expect((await Promise.all(preparing)).filter((batch) => batch !== undefined)).toHaveLength(2);
    await until("nothing is left", async () => (await inMemory()).length === 0);
    expect([staged.isReady, await batchesOnDisk()]).toEqual([false, []]);
  });

  it("creates nothing for a stream that is not there", async () => {
    const staging = await prepared();
    expect(await staging.prepare("deleted", "batch")).toBeUndefined();
    expect(await inMemory()).toEqual([]);
    expect(await readdir(join(dataDir, STREAMS))).toEqual(["s"]);
  });
});
