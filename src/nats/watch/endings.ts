/** The errors that refuse or end a watch. */
import { KvError } from "../../kv/errors.js";
import { quote } from "../../kv/names.js";

export function canceled(bucket: string): KvError {
  return new KvError("canceled", "The client canceled the watch.", { bucket });
}

export function compacted(bucket: string, oldestUsable: number): KvError {
  return new KvError(
    "revision_compacted",
    `Changes before revision ${oldestUsable} may have been removed; start a new watch from that revision or from a snapshot.`,
    { bucket, revision: BigInt(oldestUsable) },
  );
}

/** `count`: the most revisions of the range that the watch can have missed. */
export function notEveryChange(bucket: string, from: number, through: number, count: number): KvError {
  return new KvError(
    "revision_compacted",
    `Up to ${count} of the revisions ${from} to ${through} were superseded before they could be sent; start a new watch from a snapshot, or without every_change.`,
    { bucket, revision: BigInt(through + 1) },
  );
}

export function rolledBack(bucket: string, newest: number): KvError {
  return new KvError(
    "revision_in_future",
    `The storage lost changes that this watch has sent; the newest revision is now ${newest}. Start a new watch from a snapshot.`,
    { bucket, revision: BigInt(newest) },
  );
}

export function inFuture(bucket: string, requested: bigint, newest: number): KvError {
  return new KvError(
    "revision_in_future",
    `The revision ${requested.toString()} is higher than the newest, ${newest}; start a new watch from a snapshot.`,
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
    `The client read events more slowly than they arrived; resume the watch from revision ${resumeFrom.toString()}.`,
    { bucket, revision: resumeFrom },
  );
}

/** `resumeFrom`: undefined if the watch had not started. */
export function shuttingDown(bucket: string, resumeFrom: bigint | undefined): KvError {
  return new KvError("shutting_down", "This instance of the service is shutting down; resume the watch.", {
    bucket,
    revision: resumeFrom,
  });
}

export function tooManyWatches(bucket: string, open: number): KvError {
  return new KvError(
    "too_many_watches",
    `The service already has its maximum of ${open} open watches; try again later.`,
    { bucket, retryAfterMs: 1_000 },
  );
}
