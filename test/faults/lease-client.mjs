/**
 * A process that takes a lock again and again, and appends records to a log in the store while it holds it. Prints a line of JSON whenever it
 * saw that it holds the lock, with the time of the machine's monotonic clock, which all processes share: leases.ts judges these lines.
 */
import { setTimeout as delay } from "node:timers/promises";
import { createClient, KvError } from "@ironflow-kv/client";

const [serverUrl, bucketName, lockName, ttl, client] = process.argv.slice(2);
const ttlSeconds = Number(ttl);
const bucket = createClient({ serverUrl, timeoutMs: 4_000 }).kv().bucket(bucketName);
const SAMPLE_MS = 10;
/** Each so many holds, one lasts until it was renewed. */
const RENEWED_EACH = 4;

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

/** Kills interrupt calls: that is part of the workload. Undefined then. */
async function unlessInterrupted(call) {
  try {
    return await call;
  } catch (error) {
    if (!(error instanceof KvError)) throw error;
    return undefined;
  }
}

say({ clockMs: Date.now() });
for (let hold = 0; ; hold++) {
  const lock = await unlessInterrupted(bucket.lock(lockName, { ttlSeconds, value: client }));
  if (lock === undefined) {
    await delay(SAMPLE_MS);
    continue;
  }
  const token = String(lock.fencingToken);
  /** Says what holds at this moment: the time is taken before the look at the lock. */
  const sample = (more) => {
    const atNs = String(process.hrtime.bigint());
    const { isHeld } = lock;
    if (isHeld) say({ token, atNs, ...more });
    return isHeld;
  };
  // A holder that was not told believes that it holds the lock, whatever `isHeld` says.
  say({ token, isHeld: sample({}) });
  const sampler = setInterval(sample, SAMPLE_MS, {});
  const append = async (what) => {
    const key = `log.${token}.${client}.${what}`;
    const entry = await unlessInterrupted(bucket.create(key, token));
    // Only then was the record written while the lock was held.
    if (entry !== undefined) sample({ revision: String(entry.revision) });
  };
  const isRenewed = async () => {
    const entry = await unlessInterrupted(bucket.tryGet(lockName));
    return entry !== undefined && entry.revision > lock.fencingToken;
  };
  await append("enter");
  for (let step = 0; lock.isHeld && step < 2; step++) await append(step);
  if (hold % RENEWED_EACH === RENEWED_EACH - 1)
    while (lock.isHeld && !(await isRenewed())) await delay(SAMPLE_MS);
  if (lock.isHeld) await append("leave");
  clearInterval(sampler);
  const isReleased = sample({});
  if (isReleased) await unlessInterrupted(lock.release());
  else if (!lock.signal.aborted) await new Promise((resolve) => (lock.signal.onabort = resolve));
  say({ token, ended: isReleased ? "released" : "lost" });
}
