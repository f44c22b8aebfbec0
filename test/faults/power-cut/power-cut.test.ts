/** The power is cut under load, time and again: what was acknowledged is there afterwards. */
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterEach, expect, it } from "vitest";
import { BucketService } from "@ironflow-kv/client/gen";
import { IS_FULL, IS_LONG, SEED, report, times } from "../report.js";
import { randomFrom } from "../workload.js";
import { needsServer } from "../../support/nats-program.js";
import { CuttableService } from "./cuts.js";
import { diskProblem } from "./disk.js";
import { Writers } from "./writers.js";

/** The first nats-server that syncs a file before it replaces another one by it (nats-server #8475, #8456). */
const SAFE_SINCE = "2.15.1";
const WRITERS = 24;
const BUCKETS = [
  { name: "single", history: 1 },
  { name: "history", history: 5 },
  { name: "expiring", history: 1, ttl: { seconds: 86_400n } },
];
const TIMEOUT_MS = IS_LONG ? 1_800_000 : 120_000;

const problem = await diskProblem();
if (problem !== undefined) console.log(`Skipped: the power can't be cut here: ${problem}.`);

let service: CuttableService | undefined;
afterEach(async () => {
  await service?.remove();
  service = undefined;
});

it.skipIf(problem !== undefined).for(IS_LONG ? (["journal", "paths"] as const) : (["paths"] as const))(
  "loses nothing acknowledged when the power is cut (names on the disk: %s)",
  { timeout: TIMEOUT_MS },
  async (model, { skip }) => {
    const cuttable = await CuttableService.start({ model });
    service = cuttable;
    const version = await cuttable.serverVersion();
    const isOld = compareVersions(version, SAFE_SINCE) < 0;
    skip(
      isOld && !IS_FULL,
      `nats-server ${version} loses acknowledged writes; ${SAFE_SINCE} or newer is needed`,
    );
    const buckets = createClient(BucketService, createGrpcTransport({ baseUrl: cuttable.url }));
    for (const bucket of BUCKETS) await buckets.createBucket(bucket);
    const random = randomFrom(SEED + 5);
    const writers = new Writers(cuttable.url, WRITERS, BUCKETS, SEED);
    const count = times({ full: 30, medium: 6, short: 1 });
    const lost = { writes: 0, keys: 0, cuts: 0, keysAtOnce: 0 };
    const dropped = { Files: 0, Bytes: 0, Names: 0 };
    for (let cut = 0; cut < count; cut++) {
      writers.start();
      await writers.untilAcknowledged(100 + random(times({ full: 4_000, medium: 1_000, short: 400 })));
      const ended = writers.finish();
      const taken = await cuttable.cut();
      await ended;
      for (const name of ["Files", "Bytes", "Names"] as const) dropped[name] += taken[name];
      await cuttable.restart();
      const losses = await writers.check();
      lost.writes += losses.writes;
      lost.keys += losses.keys;
      lost.cuts += losses.keys > 0 ? 1 : 0;
      lost.keysAtOnce = Math.max(lost.keysAtOnce, losses.keys);
    }
    report(
      `power cut ${count} times, nats-server ${version}, names: ${model}`,
      undefined,
      `lost ${lost.writes} of ${writers.acknowledged} acknowledged writes: ${lost.keys} keys in ${lost.cuts} cuts, up to ${lost.keysAtOnce} at once`,
      `dropped ${dropped.Bytes} unsynced bytes of ${dropped.Files} files, and ${dropped.Names} names`,
    );
    if (!isOld) expect(lost.writes).toBe(0);
    // The suite must be able to see losses: the old server replaces files by ones that it did not sync.
    else if (model === "journal") expect(lost.writes).toBeGreaterThan(0);
  },
);

it.skipIf(!IS_LONG || problem !== undefined || needsServer(SAFE_SINCE).skip)(
  "brings no deleted value back and loses nothing acknowledged when the power is cut while tombstones are compacted",
  async () => {
    const cuttable = await CuttableService.start({ model: "journal" }, { TOMBSTONE_RETENTION_MS: "1000" });
    service = cuttable;
    const buckets = createClient(BucketService, createGrpcTransport({ baseUrl: cuttable.url }));
    for (const bucket of BUCKETS) await buckets.createBucket(bucket);
    const random = randomFrom(SEED + 6);
    const writers = new Writers(cuttable.url, WRITERS, BUCKETS, SEED, true);
    const count = times({ full: 20, medium: 4, short: 1 });
    let [lost, compacted] = [0, 0n];
    for (let cut = 0; cut < count; cut++) {
      writers.start();
      await writers.untilAcknowledged(200 + random(times({ full: 2_000, medium: 1_000, short: 400 })));
      for (const { name } of BUCKETS) compacted += (await buckets.compactBucket({ bucket: name })).removed;
      // The cut comes in the middle of another compaction.
      const last = BUCKETS.map(({ name }) => buckets.compactBucket({ bucket: name }).catch(() => undefined));
      await writers.untilAcknowledged(1 + random(50));
      const ended = writers.finish();
      await cuttable.cut();
      await Promise.all([ended, ...last]);
      await cuttable.restart();
      lost += (await writers.check()).writes;
    }
    report(
      `power cut ${count} times while tombstones are compacted`,
      undefined,
      `lost ${lost} of ${writers.acknowledged} acknowledged writes, deleted values back ${writers.back}, tombstones compacted ${compacted}`,
    );
    expect(compacted).toBeGreaterThan(0n);
    expect({ lost, back: writers.back }).toEqual({ lost: 0, back: 0 });
  },
  TIMEOUT_MS,
);

function compareVersions(left: string, right: string): number {
  return left.localeCompare(right, "en", { numeric: true });
}
