/**
 * Sessions come and go for a long time: new keys all the time, each updated, then deleted or left to expire. What the bucket takes must not
 * grow. SESSIONS_SECONDS says for how long; `.ci/run` runs one minute, `npm run test:faults` 30.
 */
import { setTimeout as delay } from "node:timers/promises";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, expect, it } from "vitest";
import { BucketService, KeyValueService } from "@ironflow-kv/client/gen";
import { type Deployment, deploy } from "./deployment.js";
import { IS_LONG, report, times } from "./report.js";

const RUN_MS = Number(process.env.SESSIONS_SECONDS ?? times({ full: 1_800, medium: 60, short: 4 })) * 1_000;
/** Short, so that a short run goes through it many times. */
const RETENTION_MS = 1_000;
const TTL_SECONDS = 2n;
const SESSIONS = 60;
/** Sessions that begin and end in a round, with a pause after each: the size must not depend on the machine. */
const REPLACED_PER_ROUND = 20;
const ROUND_MS = 200;
const VALUE = Buffer.alloc(200, "s");
/** Rounds between two looks at the bucket's size. */
const LOOK_EVERY = 2;

const BUCKETS = [
  { name: "history-1", history: 1 },
  { name: "history-5", history: 5 },
  { name: "history-1-ttl", history: 1, ttl: { seconds: TTL_SECONDS } },
  { name: "history-5-ttl", history: 5, ttl: { seconds: TTL_SECONDS } },
];

/** Nothing changes in it: how long its lists take is what the machine adds. */
const CONTROL = "control";

interface Look {
  readonly bytes: number;
  readonly listMs: number;
  readonly controlMs: number;
}

interface Summary {
  /** The size half of the time. The smallest and the largest are moments between two compactions, which a busy machine moves. */
  readonly bytesMedian: number;
  readonly sizes: string;
  readonly lists: string;
}

function summary(looks: readonly Look[]): Summary {
  const at = (name: "listMs" | "controlMs", share: number): string => {
    const times = looks.map((look) => look[name]).sort((left, right) => left - right);
    return (times[Math.floor((times.length - 1) * share)] ?? 0).toFixed(1);
  };
  const sizes = looks.map(({ bytes }) => bytes).sort((left, right) => left - right);
  const bytesMedian = sizes[sizes.length >> 1] ?? 0;
  return {
    bytesMedian,
    sizes: `${sizes[0]} to ${sizes.at(-1)} bytes, p50 ${bytesMedian}`,
    lists:
      `lists p50 ${at("listMs", 0.5)}, p99 ${at("listMs", 0.99)} ms, ` +
      `of the bucket without changes ${at("controlMs", 0.5)} and ${at("controlMs", 0.99)} ms`,
  };
}

let service: Deployment;
beforeAll(async () => {
  if (!IS_LONG) return;
  service = await deploy({ TOMBSTONE_RETENTION_MS: String(RETENTION_MS), DURABILITY: "relaxed" });
});
afterAll(async () => {
  if (IS_LONG) await service.remove();
});

it.runIf(IS_LONG)(
  `${RUN_MS / 1_000} seconds of sessions leave nothing behind, with a history of 1 and of 5, with and without a ttl`,
  async () => {
    const transport = createGrpcTransport({ baseUrl: service.url });
    const buckets = createClient(BucketService, transport);
    const keys = createClient(KeyValueService, transport);

    async function look(bucket: string): Promise<Look> {
      const info = (await buckets.getBucket({ bucket })).bucket;
      const beganMs = performance.now();
      await keys.listKeys({ bucket });
      const listedMs = performance.now();
      await keys.listKeys({ bucket: CONTROL });
      return {
        bytes: Number(info?.bytes ?? 0n),
        listMs: listedMs - beganMs,
        controlMs: performance.now() - listedMs,
      };
    }

    async function run({ name: bucket, ttl }: (typeof BUCKETS)[number]): Promise<void> {
      const put = (key: string): Promise<unknown> => keys.put({ bucket, key, value: VALUE });
      const live: string[] = [];
      const looks: Look[] = [];
      let made = 0;
      let deleted = 0;
      const untilMs = performance.now() + RUN_MS;
      for (let round = 0; performance.now() < untilMs; round++) {
        const pause = delay(ROUND_MS);
        const fresh = Array.from({ length: REPLACED_PER_ROUND }, () => `session-${made++}`);
        await Promise.all(fresh.map(put));
        await Promise.all(fresh.map(put));
        live.push(...fresh);
        const ended = live.splice(0, Math.max(0, live.length - SESSIONS));
        // Half of those in a bucket with a ttl expire.
        const logOuts = ttl === undefined ? ended : ended.filter((_, index) => index % 2 === 0);
        await Promise.all(logOuts.map((key, index) => keys.delete({ bucket, key, purge: index % 3 === 0 })));
        deleted += logOuts.length;
        if (round % LOOK_EVERY === 0) looks.push(await look(bucket));
        await pause;
      }
      const third = Math.ceil(looks.length / 3);
      const [first, middle, last] = [0, 1, 2].map((part) =>
        summary(looks.slice(part * third, (part + 1) * third)),
      ) as [Summary, Summary, Summary];
      // At rest only live sessions are left.
      for (const key of live) await keys.delete({ bucket, key });
      await expect.poll(async () => (await look(bucket)).bytes, { interval: 100 }).toBe(0);
      report(
        `sessions ${bucket}`,
        undefined,
        `${made} sessions, ${deleted} deleted`,
        `in each third of the time: ${[first, middle, last].map(({ sizes }) => sizes).join("; ")}`,
        ...[first, middle, last].map(({ lists }) => lists),
      );
      // What grows steadily is half as large again in the last third. A short run has too few looks to compare.
      const earlier = Math.max(first.bytesMedian, middle.bytesMedian);
      if (third >= 10) expect(last.bytesMedian).toBeLessThanOrEqual(1.25 * earlier);
    }

    for (const bucket of [...BUCKETS, { name: CONTROL }]) await buckets.createBucket(bucket);
    for (let n = 0; n < SESSIONS; n++) await keys.put({ bucket: CONTROL, key: `session-${n}`, value: VALUE });
    await Promise.all(BUCKETS.map(run));
  },
  RUN_MS + 120_000,
);
