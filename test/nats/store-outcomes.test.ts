/** What becomes of calls when the connection to NATS breaks, or NATS is silent: nothing is told that is not known. */
import { describe, expect } from "vitest";
import type { KvErrorKind } from "../../src/kv/errors.js";
import type { CallContext } from "../../src/kv/call-context.js";
import { storeTest } from "../support/fixtures.js";
import type { OpenStore } from "./store-support.js";
import {
  bytes,
  expectRefusal,
  historyOf,
  newBucketName,
  refusal,
  refusalAtDeadline,
  scope,
  text,
} from "./store-contract.js";

/** `faulty` is the store under test; `store` sees what is stored. */
const it = storeTest({ bucket: { history: 10 } })
  .extend("operations", ({ store, bucket }) => async (key: string): Promise<string[]> => {
    const entries = await historyOf(store, bucket, key, scope());
    return entries.map((entry) => `${entry.revision} ${entry.operation}`);
  })
  /** Waits until the other store sees this revision of the key. */
  .extend("untilStored", ({ store, bucket }) => async (key: string, revision: bigint): Promise<void> => {
    const newest = async () =>
      (await historyOf(store, bucket, key, scope()).catch(() => [])).at(-1)?.revision;
    await expect.poll(newest).toBe(revision);
  })
  .extend("disconnected", ({ link, faulty }) => async (): Promise<void> => {
    link.isDown = true;
    link.cut();
    for await (const status of faulty.connection.status()) if (status.type === "disconnect") return;
  });

/** The copy under test, and its bucket. */
interface Copy {
  readonly faulty: OpenStore;
  readonly bucket: string;
}
type Call<Result> = (copy: Copy, within: CallContext) => Promise<Result>;

describe("a write whose answer is lost with the connection", () => {
  const writes: [string, string, Call<bigint>, string[], KvErrorKind | "applied"][] = [
    [
      "put",
      "PUBLISH",
      ({ faulty, bucket }, within) => faulty.store.put(bucket, "k", bytes("new"), {}, within),
      ["1 put", "2 put"],
      "applied",
    ],
    [
      "put if revision",
      "PUBLISH",
      ({ faulty, bucket }, within) =>
        faulty.store.put(bucket, "k", bytes("new"), { condition: { ifRevision: 1n } }, within),
      ["1 put", "2 put"],
      "applied",
    ],
    [
      "delete",
      "DEL",
      ({ faulty, bucket }, within) => faulty.store.delete(bucket, "k", {}, within),
      ["1 put", "2 delete"],
      "applied",
    ],
    [
      "delete if revision",
      "DEL",
      ({ faulty, bucket }, within) =>
        faulty.store.delete(bucket, "k", { condition: { ifRevision: 1n } }, within),
      ["1 put", "2 delete"],
      "applied",
    ],
    [
      "purge",
      "PURGE",
      ({ faulty, bucket }, within) => faulty.store.delete(bucket, "k", { purge: true }, within),
      ["2 purge"],
      "applied",
    ],
  ];

  it.for(writes)(
    "is found to be applied, once, when NATS is back: %s",
    async ([, , call, expected], { faulty, store, bucket, link, operations, untilStored }) => {
      await store.put(bucket, "k", bytes("old"), {}, scope());
      const lost = link.loseAnswersTo("Nats-Msg-Id");
      const outcome = call({ faulty, bucket }, scope());
      await lost;
      await untilStored("k", 2n);
      link.cut();
      expect(await outcome).toBe(2n);
      expect(await operations("k")).toEqual(expected);
    },
  );

  it.for(writes)(
    "is sent again, and applied once, when it never arrived: %s",
    async ([, , call, expected], { faulty, store, bucket, link, operations }) => {
      await store.put(bucket, "k", bytes("old"), {}, scope());
      const lost = link.loseRequest("Nats-Msg-Id");
      const outcome = call({ faulty, bucket }, scope());
      await lost;
      link.cut();
      expect(await outcome).toBe(2n);
      expect(await operations("k")).toEqual(expected);
    },
  );

  it("is found to be applied also if it was to happen only once: put if absent", async ({
    faulty,
    bucket,
    link,
    untilStored,
  }) => {
    const lost = link.loseAnswersTo("Nats-Msg-Id");
    const outcome = faulty.store.put(bucket, "k", bytes("v"), { condition: "if_absent" }, scope());
    await lost;
    await untilStored("k", 1n);
    link.cut();
    expect(await outcome).toBe(1n);
  });

  it("is refused for its condition when it never arrived and somebody was first", async ({
    faulty,
    store,
    bucket,
    link,
    operations,
  }) => {
    await faulty.store.put(bucket, "k", bytes("old"), {}, scope());
    await store.put(bucket, "k", bytes("theirs"), {}, scope());
    const lost = link.loseRequest("Nats-Msg-Id");
    const outcome = refusal(
      faulty.store.put(bucket, "k", bytes("mine"), { condition: { ifRevision: 1n } }, scope()),
    );
    await lost;
    link.cut();
    expect(["revision_mismatch", "outcome_unknown"]).toContain((await outcome).kind);
    expect(await operations("k")).toEqual(["1 put", "2 put"]);
  });

  it("is found to be applied also where somebody wrote over it", async ({
    faulty,
    store,
    bucket,
    link,
    untilStored,
  }) => {
    await faulty.store.put(bucket, "k", bytes("old"), {}, scope());
    const lost = link.loseAnswersTo("Nats-Msg-Id");
    const outcome = faulty.store.put(bucket, "k", bytes("mine"), {}, scope());
    await lost;
    await untilStored("k", 2n);
    await store.put(bucket, "k", bytes("theirs"), {}, scope());
    link.cut();
    expect(await outcome).toBe(2n);
    expect(text((await store.get(bucket, "k", 0n, scope())).value)).toBe("theirs");
  });

  it("is not known when NATS does not come back in time", async ({ faulty, bucket, link }) => {
    const cutOff = (): void => {
      link.isDown = true;
      link.cut();
    };
    const untilSent = (): Promise<void> => link.loseAnswersTo("Nats-Msg-Id").then(cutOff);
    const outcome = await refusalAtDeadline(untilSent, (within) =>
      faulty.store.put(bucket, "k", bytes("v"), {}, within),
    );
    expect(outcome.kind).toBe("outcome_unknown");
  });

  it("is not known when NATS is silent until the caller's deadline, or until the caller cancels", async ({
    faulty,
    bucket,
    link,
  }) => {
    const aborter = new AbortController();
    await faulty.store.put(bucket, "k", bytes("first"), {}, scope());
    const put = (within: CallContext): Promise<bigint> =>
      faulty.store.put(bucket, "k", bytes("v"), {}, within);
    const atDeadline = await refusalAtDeadline(() => link.loseAnswersTo("Nats-Msg-Id"), put);
    const lost = link.loseAnswersTo("Nats-Msg-Id");
    const whenCanceled = refusal(put(scope(60_000, aborter.signal)));
    await lost;
    aborter.abort();
    expect([atDeadline.kind, (await whenCanceled).kind]).toEqual(["outcome_unknown", "outcome_unknown"]);
  });

  const bucketChanges: [string, Call<unknown>][] = [
    [
      "createBucket",
      ({ faulty }, within) => faulty.store.createBucket({ name: newBucketName(), history: 2 }, within),
    ],
    [
      "updateBucket",
      ({ faulty, bucket }, within) => faulty.store.updateBucket(bucket, { history: 2 }, within),
    ],
    ["deleteBucket", ({ faulty, bucket }, within) => faulty.store.deleteBucket(bucket, within)],
  ];
  const subjectOf = (name: string): string => `STREAM.${name.slice(0, 6).toUpperCase()}`;

  it.for(
    (["loseAnswersTo", "loseRequest"] as const).flatMap((lose) =>
      bucketChanges.map(([name, call]) => {
        const outcome =
          lose === "loseAnswersTo" ? "is found to be applied" : "is made when it never arrived,";
        return [outcome, name, lose, call] as const;
      }),
    ),
  )("%s if it was about a bucket: %s", async ([, name, lose, call], { faulty, store, bucket, link }) => {
    const lost = link[lose](subjectOf(name));
    const outcome = call({ faulty, bucket }, scope());
    await lost;
    link.cut();
    const info = await outcome;
    if (name === "deleteBucket") await expectRefusal(store.getBucket(bucket, scope()), "bucket_not_found");
    else expect(info).toMatchObject({ history: 2 });
  });

  it.for(bucketChanges)(
    "is not known if it was about a bucket, and NATS stays away: %s",
    async ([name, call], { faulty, bucket, link }) => {
      const aborter = new AbortController();
      const lost = link.loseAnswersTo(subjectOf(name));
      const outcome = refusal(call({ faulty, bucket }, scope(60_000, aborter.signal)));
      await lost;
      link.isDown = true;
      link.cut();
      aborter.abort();
      expect((await outcome).kind).toBe("outcome_unknown");
    },
  );

  it("is not the creation of a bucket that somebody else created meanwhile", async ({
    faulty,
    store,
    link,
  }) => {
    const name = newBucketName();
    const lost = link.loseRequest("STREAM.CREATE");
    const outcome = refusal(faulty.store.createBucket({ name }, scope()));
    await lost;
    await store.createBucket({ name }, scope());
    link.cut();
    expect((await outcome).kind).toBe("bucket_exists");
  });

  it("is not the deletion of a bucket that another program recreated meanwhile", async ({
    faulty,
    store,
    open,
    bucket,
    link,
  }) => {
    const lost = link.loseRequest("STREAM.DELETE");
    const outcome = faulty.store.deleteBucket(bucket, scope());
    await lost;
    await open.connection.request(`$JS.API.STREAM.DELETE.KV_APP_${bucket}`);
    await store.createBucket({ name: bucket }, scope());
    link.cut();
    await outcome;
    expect(await store.getBucket(bucket, scope())).toMatchObject({ name: bucket });
  });

  it("is known when another program changed the bucket meanwhile", async ({
    faulty,
    store,
    open,
    bucket,
    link,
  }) => {
    const lost = link.loseAnswersTo("STREAM.UPDATE");
    const outcome = faulty.store.updateBucket(bucket, { history: 2 }, scope());
    await lost;
    await expect.poll(async () => (await store.getBucket(bucket, scope())).history).toBe(2);
    const info = await open.connection.request(`$JS.API.STREAM.INFO.KV_APP_${bucket}`);
    const changed = { ...info.json<{ config: object }>().config, description: "theirs" };
    await open.connection.request(`$JS.API.STREAM.UPDATE.KV_APP_${bucket}`, JSON.stringify(changed));
    link.cut();
    expect(await outcome).toMatchObject({ history: 2, description: "theirs" });
  });
});

describe("while NATS is away", () => {
  const calls: [string, Call<unknown>][] = [
    ["createBucket", ({ faulty }, within) => faulty.store.createBucket({ name: newBucketName() }, within)],
    ["getBucket", ({ faulty, bucket }, within) => faulty.store.getBucket(bucket, within)],
    ["listBuckets", ({ faulty }, within) => faulty.store.listBuckets({ limit: 0, pageToken: "" }, within)],
    [
      "updateBucket",
      ({ faulty, bucket }, within) => faulty.store.updateBucket(bucket, { history: 2 }, within),
    ],
    ["deleteBucket", ({ faulty, bucket }, within) => faulty.store.deleteBucket(bucket, within)],
    ["get", ({ faulty, bucket }, within) => faulty.store.get(bucket, "k", 0n, within)],
    ["put", ({ faulty, bucket }, within) => faulty.store.put(bucket, "k", bytes(""), {}, within)],
    [
      "put if absent",
      ({ faulty, bucket }, within) =>
        faulty.store.put(bucket, "k", bytes(""), { condition: "if_absent" }, within),
    ],
    ["delete", ({ faulty, bucket }, within) => faulty.store.delete(bucket, "k", {}, within)],
    [
      "listKeys",
      ({ faulty, bucket }, within) => faulty.store.listKeys(bucket, [], { limit: 0, pageToken: "" }, within),
    ],
    ["history", ({ faulty, bucket }, within) => historyOf(faulty.store, bucket, "k", within)],
    ["ping", ({ faulty }, within) => faulty.store.ping(within)],
  ];

  it.for(calls)(
    "%s is refused at once, as safe to try again",
    async ([, call], { faulty, bucket, disconnected }) => {
      await disconnected();
      // A scope without end: only an answer at once ends this.
      await expectRefusal(call({ faulty, bucket }, scope(Infinity)), "unavailable");
    },
  );

  it("everything works again when it is back", async ({ faulty, bucket, link, disconnected }) => {
    await faulty.store.put(bucket, "k", bytes("v"), {}, scope());
    await disconnected();
    await expectRefusal(faulty.store.get(bucket, "k", 0n, scope()), "unavailable");
    link.heal();
    await expect.poll(() => faulty.link.isConnected && faulty.bulk.isConnected).toBe(true);
    expect(text((await faulty.store.get(bucket, "k", 0n, scope())).value)).toBe("v");
    expect((await faulty.store.getBucket(bucket, scope())).values).toBe(1);
  });
});

describe("a read that NATS does not answer", () => {
  const reads: [string, string, Call<unknown>][] = [
    ["get", "DIRECT.GET", ({ faulty, bucket }, within) => faulty.store.get(bucket, "k", 0n, within)],
    [
      "get at a revision",
      "DIRECT.GET",
      ({ faulty, bucket }, within) => faulty.store.get(bucket, "k", 1n, within),
    ],
    ["history", "DIRECT.GET", ({ faulty, bucket }, within) => historyOf(faulty.store, bucket, "k", within)],
    ["getBucket", "CONSUMER.CREATE", ({ faulty, bucket }, within) => faulty.store.getBucket(bucket, within)],
    [
      "listKeys",
      "CONSUMER.CREATE",
      ({ faulty, bucket }, within) => faulty.store.listKeys(bucket, [], { limit: 0, pageToken: "" }, within),
    ],
    [
      "listBuckets",
      "STREAM.NAMES",
      ({ faulty }, within) => faulty.store.listBuckets({ limit: 0, pageToken: "" }, within),
    ],
  ];

  it.beforeEach(async ({ faulty, bucket }) => {
    await faulty.store.put(bucket, "k", bytes("v"), {}, scope());
  });

  it.for(reads)(
    "fails at once when the connection breaks: %s",
    async ([, request, call], { faulty, bucket, link }) => {
      const lost = link.loseAnswersTo(request);
      const outcome = refusal(call({ faulty, bucket }, scope(Infinity)));
      await lost;
      link.cut();
      expect((await outcome).kind).toBe("unavailable");
    },
  );

  it.for(reads)("fails at the caller's deadline: %s", async ([, request, call], { faulty, bucket, link }) => {
    const outcome = await refusalAtDeadline(
      () => link.loseAnswersTo(request),
      (within) => call({ faulty, bucket }, within),
    );
    expect(outcome.kind).toBe("deadline_exceeded");
  });

  it.for(reads)("fails when the caller cancels: %s", async ([, request, call], { faulty, bucket, link }) => {
    const aborter = new AbortController();
    const lost = link.loseAnswersTo(request);
    const outcome = refusal(call({ faulty, bucket }, scope(Infinity, aborter.signal)));
    await lost;
    aborter.abort();
    expect((await outcome).kind).toBe("canceled");
  });
});
