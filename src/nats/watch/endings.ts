/** How watches are refused and ended: the errors, with sentences for clients. */
import { KvError } from "../../kv/errors.js";
import { quote } from "../../kv/names.js";

export function canceled(bucket: string): KvError {
  return new KvError("canceled", "The caller gave up the watch.", { bucket });
}

export function compacted(bucket: string, oldestUsable: number): KvError {
  return new KvError(
    "revision_compacted",
    `Changes before revision ${oldestUsable} may be gone; watch from there, or from the present values.`,
    { bucket, revision: BigInt(oldestUsable) },
  );
}

/** `count` of the revisions in the range were not seen. */
export function notEveryChange(bucket: string, from: number, through: number, count: number): KvError {
  return new KvError(
    "revision_compacted",
    `Up to ${count} of the revisions ${from} to ${through} were superseded before they could be sent; watch from the present values, or without every_change.`,
    { bucket, revision: BigInt(through + 1) },
  );
}

export function rolledBack(bucket: string, newest: number): KvError {
  return new KvError(
    "revision_in_future",
    `The storage lost changes that this watch has seen; the newest revision is ${newest} now. Watch from the present values.`,
    { bucket, revision: BigInt(newest) },
  );
}

export function inFuture(bucket: string, asked: bigint, newest: number): KvError {
  return new KvError(
    "revision_in_future",
    `The revision ${asked.toString()} is past the newest, ${newest}; watch from the present values.`,
    { bucket, revision: BigInt(newest) },
  );
}

export function recreated(bucket: string, newest: number): KvError {
  return new KvError(
    "revision_in_future",
    `The bucket ${quote(bucket)} was deleted and recreated; start a new watch from a snapshot.`,
    { bucket, revision: BigInt(newest) },
  );
}

export function slowWatcher(bucket: string, resumeFrom: bigint): KvError {
  return new KvError(
    "slow_watcher",
    `Events came faster than this watch was read; watch again from revision ${resumeFrom.toString()}.`,
    { bucket, revision: resumeFrom },
  );
}

/** `resumeFrom`: undefined where the watch had not begun. */
export function shuttingDown(bucket: string, resumeFrom: bigint | undefined): KvError {
  return new KvError("shutting_down", "This copy of the service is stopping; watch again to go on.", {
    bucket,
    revision: resumeFrom,
  });
}

export function tooManyWatches(bucket: string, open: number): KvError {
  return new KvError(
    "too_many_watches",
    `The service has ${open} watches open, which is all that it allows; try again later.`,
    { bucket, retryAfterMs: 1_000 },
  );
}
