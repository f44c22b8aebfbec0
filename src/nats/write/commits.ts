/** Writes several keys at once: see `Store.commit`. */
import { setTimeout as delay } from "node:timers/promises";
import { KvError, withDetails } from "../../kv/errors.js";
import type { Limits } from "../../kv/limits.js";
import { streamName, subjectPrefix } from "../../kv/names.js";
import type { CallContext } from "../../kv/call-context.js";
import type { CommitOperation, CommitResult, WriteOptions } from "../../kv/writes.js";
import type { MessageReader, Place } from "../client/message-reader.js";
import type { Requests } from "../client/requests.js";
import { RETRY_WAIT_MS } from "../client/retry.js";
import { capabilitiesOf, RELIABLE_SERVER_VERSION } from "../client/server-version.js";
import type { CachedBucket, BucketConfigCache } from "../streams/bucket-config-cache.js";
import type { BucketQuota } from "./bucket-quota.js";
import type { CommitConditions, Conditions } from "./commit-conditions.js";
import { arrange, FILLER_TOKEN } from "./commit-plan.js";
import { atOperation, checkCommit, type CommitRequest, type CommitWrite } from "./commit-request.js";
import { identityOf, type WriteIdentity } from "./idempotency.js";
import { DELETE_LINE, NO_EXPIRY_LINE } from "./tombstone-headers.js";
import { tooLarge } from "./value-limits.js";
import type { CommitMessages, Write } from "./write.js";
import { isOver, storedBytesOf, type WriteSteps } from "./write-steps.js";
import { MISMATCH, type Writer } from "./writer.js";

export interface CommitsOptions {
  readonly requests: Requests;
  readonly reader: MessageReader;
  readonly writer: Writer;
  readonly steps: WriteSteps;
  readonly conditions: CommitConditions;
  readonly facts: BucketConfigCache;
  readonly quota: BucketQuota;
  readonly limits: Limits;
  /** The largest message that the storage takes, headers included. */
  readonly maxPayloadBytes: number;
  /** Configures a bucket's stream to accept batches. */
  readonly allowBatches: (place: Place, context: CallContext) => Promise<unknown>;
}

/** On each message, beside what a write alone has: the headers of a batch and of a commit, and the subject of a check. */
const COMMIT_HEADER_BYTES = 256;
const CONFLICTS: ReadonlySet<string> = new Set(["revision_mismatch", "key_exists", "revision_compacted"]);

export class Commits {
  constructor(private readonly options: CommitsOptions) {}

  async commit(
    bucket: string,
    operations: readonly CommitOperation[],
    options: Omit<WriteOptions, "condition">,
    context: CallContext,
  ): Promise<CommitResult> {
    const { limits, steps } = this.options;
    const request = checkCommit(bucket, operations, this.options);
    const identity = identityOf(
      { ...options, condition: conditionOf(request) },
      request.identity,
      request.digest,
      limits,
    );
    const last = request.writes.at(-1);
    const place = last?.place ?? {
      bucket,
      stream: streamName(bucket),
      key: "",
      subject: subjectPrefix(bucket),
    };
    const run = (identity: WriteIdentity | undefined): Promise<bigint> =>
      last === undefined
        ? this.checkOnly(place, request, context)
        : this.write(request, last, identity, context);
    const known = last === undefined ? undefined : identity;
    const revision = await steps.run(place, known, options, context, run);
    return { revision, revisions: revisionsOf(request, revision) };
  }

  /** The conditions hold at the returned revision: each was read after it, and no key has changed since. */
  private async checkOnly(place: Place, request: CommitRequest, context: CallContext): Promise<bigint> {
    for (;;) {
      const { config, state } = await this.options.reader.stream(place, context);
      const revision = BigInt(state.last_seq);
      const replicas = config.num_replicas ?? 1;
      const conditions = await this.options.conditions.read(place, request, replicas, false, context);
      if (conditions?.expectations.every(({ sequence }) => sequence <= revision) === true) return revision;
    }
  }

  private async write(
    request: CommitRequest,
    last: CommitWrite,
    identity: WriteIdentity | undefined,
    context: CallContext,
  ): Promise<bigint> {
    const { steps, quota } = this.options;
    const facts = await this.factsThatAllow(request, last.place, context);
    const puts = request.writes.filter(({ isPut }) => isPut);
    const values = puts.map(({ subject, data, metadataBytes }) => ({
      subject,
      bytes: data.length + metadataBytes + COMMIT_HEADER_BYTES,
    }));
    const bytes = request.writes.reduce((sum, one) => sum + storedBytesOf(one), 0);
    const id = this.options.writer.newId();
    const write: Write = {
      ...{ place: last.place, subject: last.subject, key: last.place.key, data: last.data, identity },
      ...{ headerLines: last.headerLines, expected: undefined },
      use: puts.length > 0 ? "value" : "record",
      commit: { id, subjects: request.writes.map(({ subject }) => subject), arrange: () => [] },
    };
    const send = (): Promise<bigint> =>
      steps.admit(write, bytes, context, () => this.send(write, request, facts, context));
    return puts.length > 0
      ? steps.unlessFull(write, values, facts, context, send)
      : quota.duringDelete(last.place, undefined, context, send);
  }

  private async send(
    write: Write,
    request: CommitRequest,
    facts: CachedBucket,
    context: CallContext,
  ): Promise<bigint> {
    const { steps, writer, conditions: current } = this.options;
    const { place } = write;
    for (let attempts = 1; ; attempts++) {
      let conditions: Conditions | undefined;
      try {
        conditions = await current.read(place, request, facts.replicas, attempts === 1, context);
      } catch (error) {
        const isConflict = error instanceof KvError && CONFLICTS.has(error.kind);
        if (!isConflict || write.identity === undefined) throw error;
        return steps.appliedBeforeOr(error, write, context);
      }
      if (conditions !== undefined) {
        const outcome = await writer.write(planned(write, request, conditions, facts), facts, context);
        if (outcome !== MISMATCH) return outcome;
      }
      // Another write came in between. On a cluster, one under way refuses the commit until it is stored.
      if (attempts > 1) await delay(Math.random() * RETRY_WAIT_MS);
    }
  }

  /** The facts of a bucket that accepts the commit. Throws `value_too_large` and `commit_unsupported`. */
  private async factsThatAllow(
    request: CommitRequest,
    place: Place,
    context: CallContext,
  ): Promise<CachedBucket> {
    const { facts: cache, requests, steps, allowBatches } = this.options;
    let facts = await steps.facts(place, context);
    if (request.writes.some((write) => isTooLarge(write, facts))) facts = await cache.read(place, context);
    for (const write of request.writes) {
      const { place: written, data, metadataBytes, hasTtl, index } = write;
      atOperation(index, {}, () => {
        if (isTooLarge(write, facts))
          throw tooLarge(written, data.length, facts.maxValueSize, "the bucket", metadataBytes);
      });
      if (!hasTtl) continue;
      await steps.checkAllowsTtl(written, facts, context).catch((error: unknown) => {
        throw error instanceof KvError ? withDetails(error, { operationIndex: index }) : error;
      });
    }
    const { bucket } = place;
    const version = requests.link.connection.info?.version ?? "";
    if (!capabilitiesOf(version).atomicBatches) {
      throw new KvError(
        "commit_unsupported",
        `The storage's server has the version ${version}; commits need ${RELIABLE_SERVER_VERSION} or newer.`,
        { bucket },
      );
    }
    if (facts.allowsBatches) return facts;
    let cause: unknown;
    try {
      await allowBatches(place, context);
    } catch (error) {
      if (!(error instanceof KvError) || error.kind !== "internal") throw error;
      cause = error;
    }
    facts = await cache.read(place, context);
    if (facts.allowsBatches) return facts;
    const sentence = "Another program configured this bucket; it can't be configured for commits.";
    throw new KvError("commit_unsupported", sentence, { bucket, cause });
  }
}

function isTooLarge({ data, metadataBytes }: CommitWrite, { maxValueSize }: CachedBucket): boolean {
  return isOver(data.length + metadataBytes, maxValueSize);
}

/** The write with the messages that the conditions need. */
function planned(
  write: Write,
  request: CommitRequest,
  conditions: Conditions,
  { keepsTombstones }: CachedBucket,
): Write {
  const writes = request.writes.map((one) =>
    keepsTombstones && one.headerLines === DELETE_LINE
      ? { ...one, headerLines: DELETE_LINE + NO_EXPIRY_LINE }
      : one,
  );
  const fillerSubject = subjectPrefix(request.bucket) + FILLER_TOKEN;
  const plan = { ...conditions, writes, fillerSubject };
  const own = conditions.expectations.find(({ subject }) => subject === write.subject);
  const commit: CommitMessages = {
    ...(write.commit as CommitMessages),
    arrange: (expected) => arrange(plan, expected),
  };
  return { ...write, expected: own?.sequence, commit };
}

/** A commit's revision is above each revision that it requires. */
function conditionOf({ guards }: CommitRequest): WriteOptions["condition"] {
  let highest = 0n;
  for (const { condition } of guards)
    if (condition !== "if_absent" && condition.ifRevision > highest) highest = condition.ifRevision;
  return highest === 0n ? "always" : { ifRevision: highest };
}

/** The writes have consecutive revisions; `revision` is the last. */
function revisionsOf({ writes, operationCount }: CommitRequest, revision: bigint): readonly bigint[] {
  const revisions = Array.from({ length: operationCount }, () => 0n);
  for (const [position, { index }] of writes.entries())
    revisions[index] = revision - BigInt(writes.length - 1 - position);
  return revisions;
}
