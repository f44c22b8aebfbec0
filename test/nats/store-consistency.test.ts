/** Reads and writes on a cluster of three whose nodes lag behind, or are cut off: with a copy of the service on each. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { KvError } from "../../src/kv/errors.js";
import type { Consistency } from "../../src/kv/reads.js";
import type { Store } from "../../src/kv/store.js";
import { startNatsCluster, type TestCluster } from "../support/nats-cluster.js";
import { bytes, historyOf, newBucketName, scope, text } from "./store-contract.js";
import { type OpenStore, openStore } from "./store-support.js";
import { untilAvailable } from "./until-available.js";
import { IS_EXTENDED } from "../support/extended.js";

let cluster: TestCluster;
/** Each knows its own node only. */
let copies: OpenStore[];
let bucket: string;

beforeAll(async () => {
  cluster = await startNatsCluster();
  copies = await Promise.all(
    cluster.servers.map(({ url }) => openStore(url, { isClustered: true, replicas: 3 })),
  );
  bucket = newBucketName();
  await untilAnswered(() =>
    storeOn(0)
      .createBucket({ name: bucket, history: 8 }, scope(5_000))
      .catch((error: unknown) => {
        // An attempt before this one succeeded, and its answer was lost.
        if (!(error instanceof KvError) || error.kind !== "bucket_exists") throw error;
      }),
  );
});
afterAll(async () => {
  for (const copy of copies) await copy.close();
  await cluster.remove();
});
afterEach(() => cluster.heal());

function storeOn(node: number): Store {
  const copy = copies[node];
  if (copy === undefined) throw new Error(`no node ${node}`);
  return copy.store;
}

/** Repeats a call: a cluster has no leader for seconds after each cut. */
const untilAnswered = <Result>(call: () => Promise<Result>): Promise<Result> =>
  untilAvailable(call, {
    retry: ["unavailable", "deadline_exceeded", "outcome_unknown", "bucket_not_found"],
  });

async function leaderNode(): Promise<number> {
  const answer = await copies[0]?.connection.request(`$JS.API.STREAM.INFO.KV_APP_${bucket}`, "", {
    timeout: 5_000,
  });
  const name = answer?.json<{ cluster?: { leader?: string } }>().cluster?.leader ?? "";
  if (name === "") throw new KvError("unavailable", "There is no leader.");
  return Number(name.slice(1));
}

const put = (node: number, value: string): Promise<bigint> =>
  storeOn(node).put(bucket, "k", bytes(value), {}, scope(2_000));
const read = async (node: number, consistency: Consistency): Promise<string> =>
  text((await storeOn(node).get(bucket, "k", 0n, scope(1_500), consistency)).value);

describe("a follower that is cut off", { timeout: 120_000 }, () => {
  it("answers eventual reads with what it has, and no strong read anywhere", async () => {
    let value = 0;
    for (let isShown = false; !isShown;) {
      const leader = await untilAnswered(leaderNode);
      const [follower, other] = [(leader + 1) % 3, (leader + 2) % 3];
      const before = String(value++);
      await untilAnswered(() => put(leader, before));
      await untilAnswered(async () => expect(await read(follower, "strong")).toBe(before));
      cluster.cutOff(follower);
      await untilAnswered(() => put(leader, String(value)));

      // A follower takes part in eventual reads some time after it was started: until then others answer for it, and can't now.
      const eventual = await read(follower, "eventual").catch(() => undefined);
      isShown = eventual === before;
      const strong = await read(follower, "strong").catch((error: unknown) => (error as KvError).kind);
      expect(["unavailable", "deadline_exceeded"]).toContain(strong);
      for (const node of [leader, other]) {
        expect(await untilAnswered(() => read(node, "strong"))).toBe(String(value));
        const entries = await untilAnswered(() => historyOf(storeOn(node), bucket, "k", scope(2_000)));
        expect(text(entries.at(-1)?.value ?? bytes(""))).toBe(String(value));
      }
      cluster.heal();
      await untilAnswered(async () => expect(await read(follower, "strong")).toBe(String(value)));
    }
  });
});

describe("a write that is sent again", () => {
  it("is applied once, whichever copies take it, also where somebody wrote since", async () => {
    const options = { idempotencyKey: "once" };
    const send = (node: number, sentBefore?: { after: bigint }): Promise<bigint> =>
      untilAnswered(() =>
        storeOn(node).put(bucket, "again", bytes("mine"), { ...options, sentBefore }, scope(5_000)),
      );
    const [first] = await Promise.all([send(0), send(1), send(2)]);
    await untilAnswered(() => storeOn(1).put(bucket, "again", bytes("theirs"), {}, scope(5_000)));
    for (const node of [0, 1, 2]) {
      expect(await send(node)).toBe(first);
      expect(await send(node, { after: 0n })).toBe(first);
    }
    const entries = await untilAnswered(() => historyOf(storeOn(2), bucket, "again", scope(5_000)));
    expect(entries.map((entry) => text(entry.value))).toEqual(["mine", "theirs"]);
  });

  it("finds its revision also where its condition does not hold any more", async () => {
    const send = (node: number): Promise<bigint> =>
      untilAnswered(() =>
        storeOn(node).put(
          bucket,
          "created",
          bytes("mine"),
          { idempotencyKey: "create", condition: "if_absent" },
          scope(5_000),
        ),
      );
    const first = await send(0);
    await untilAnswered(() => storeOn(1).put(bucket, "created", bytes("theirs"), {}, scope(5_000)));
    expect(await send(1)).toBe(first);
    expect(await send(2)).toBe(first);
  });
});

describe.runIf(IS_EXTENDED)("a leader that is cut off", { timeout: 120_000 }, () => {
  it("answers no strong read with less than what was written since the others have another one", async () => {
    const leader = await untilAnswered(leaderNode);
    const other = (leader + 1) % 3;
    await untilAnswered(() => put(leader, "old"));
    cluster.cutOff(leader);
    const reads: { readonly begunMs: number; readonly value: string }[] = [];
    const reading = { isOver: false };
    const reader = (async () => {
      while (!reading.isOver) {
        const begunMs = performance.now();
        const value = await read(leader, "strong").catch(() => "refused");
        reads.push({ begunMs, value });
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    })();
    await untilAnswered(() => put(other, "new"));
    const writtenMs = performance.now();
    expect(await untilAnswered(() => read(other, "strong"))).toBe("new");
    // It takes itself for the leader for some seconds more.
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    reading.isOver = true;
    await reader;
    const later = reads.filter(({ begunMs }) => begunMs > writtenMs).map(({ value }) => value);
    expect(later.length).toBeGreaterThan(0);
    expect(later.filter((value) => value !== "refused" && value !== "new")).toEqual([]);
    cluster.heal();
    await untilAnswered(async () => expect(await read(leader, "strong")).toBe("new"));
  });
});
