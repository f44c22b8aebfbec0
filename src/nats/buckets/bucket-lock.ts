/**
 * A lease on changing one bucket, shared by all copies of the service.
 *
 * JetStream's STREAM.UPDATE replaces the whole configuration and takes no precondition (nats-server's `jsStreamUpdateRequest`): two copies
 * that read, change and write at the same time lose one change. A write of a message has a precondition, so the lease is a message: its
 * holder is the one whose write with `Nats-Expected-Last-Subject-Sequence` was stored. The storage drops it after {@link LEASE_MS}, so a
 * holder that dies blocks others no longer than that. A holder sends a change only in the first half of its lease, and does not release it
 * while the outcome of a change is unknown: what it sent reaches the storage before the lease ends.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { KvError } from "../../kv/errors.js";
import { quote, streamName, subjectPrefix } from "../../kv/names.js";
import type { CallContext } from "../../kv/store.js";
import { JetStreamCode, JetStreamError, kindOf, toKvError } from "../client/errors.js";
import {
  askJetStream,
  parseAnswer,
  readJetStream,
  type StreamInfo,
  within,
} from "../client/jetstream-api.js";
import { RawHeaders, EXPECTED_HEADER } from "../client/messages.js";
import { isNoResponders } from "../client/message-reader.js";
import type { Requests } from "../client/requests.js";
import { isRetryable } from "../client/retry.js";
import { CHANGE_ID_KEY } from "../streams/stream-config.js";

/** The change that the last holder made: a copy that reads an older configuration has to read again. */
export interface LastChange {
  readonly id: string;
  /** When the bucket was created, as the storage writes it. */
  readonly created: string;
}

/** What the lease's message says: who holds it, or what the last holder did. */
interface LeaseRecord {
  readonly holder?: string;
  readonly last?: LastChange;
}

interface StoredRecord {
  readonly sequence: number;
  readonly record: LeaseRecord;
}

const NAME = "bucket_locks";
const OWNER = "SYS_";
const STREAM = streamName(NAME, OWNER);
const SUBJECT_PREFIX = subjectPrefix(NAME, OWNER);
/** Longer than a request that was sent may wait in the storage before it is applied. */
const LEASE_MS = 10_000;
const NANOS_PER_MS = 1_000_000;
/** How often a copy that waits for the lease asks for it. */
const POLL_INTERVAL_MS = 10;
const ANSWER_TIMEOUT_MS = 2_000;
const NEVER_ABORTED = new AbortController().signal;

export class BucketLocks {
  constructor(
    private readonly requests: Requests,
    private readonly replicas: number,
  ) {}

  /** Waits until no other copy changes the bucket. Throws `KvError`; `unavailable` where another one does so for the context's whole time. */
  async acquire(bucket: string, context: CallContext): Promise<BucketLock> {
    const lock = new BucketLock(this, bucket);
    await lock.hold(context);
    return lock;
  }

  /** Stores a record if the subject's newest is the expected one; its sequence, or undefined where it is another one. */
  async write(
    bucket: string,
    record: LeaseRecord,
    expected: number,
    context: CallContext,
  ): Promise<number | undefined> {
    const headers = new RawHeaders(`${EXPECTED_HEADER}: ${expected}\r\n`);
    const payload = Buffer.from(JSON.stringify(record));
    const shorter = within(context, ANSWER_TIMEOUT_MS);
    try {
      const reply = await this.requests.one(SUBJECT_PREFIX + bucket, payload, headers, shorter);
      return (parseAnswer(reply.data) as { readonly seq: number }).seq;
    } catch (error) {
      if (error instanceof JetStreamError && kindOf(error) === "revision_mismatch") return undefined;
      if (!isNoResponders(error)) throw error;
      await this.createStream(context);
      return undefined;
    }
  }

  async read(bucket: string, context: CallContext): Promise<StoredRecord | undefined> {
    const body = { last_by_subj: SUBJECT_PREFIX + bucket };
    try {
      const operation = `STREAM.MSG.GET.${STREAM}`;
      const { message } = await readJetStream<{ readonly message: { seq: number; data?: string } }>(
        this.requests,
        operation,
        body,
        context,
      );
      const record = JSON.parse(Buffer.from(message.data ?? "", "base64").toString()) as LeaseRecord;
      return { sequence: message.seq, record };
    } catch (error) {
      if (!(error instanceof JetStreamError)) throw error;
      if (error.code === JetStreamCode.messageNotFound || error.code === JetStreamCode.streamNotFound)
        return undefined;
      throw error;
    }
  }

  /** In memory, so that buckets can be deleted while the disk is full; on disk where the account has no memory. */
  private async createStream(context: CallContext): Promise<void> {
    for (const storage of ["memory", "file"]) {
      const config = {
        name: STREAM,
        subjects: [`${SUBJECT_PREFIX}>`],
        storage,
        max_msgs_per_subject: 1,
        max_age: LEASE_MS * NANOS_PER_MS,
        duplicate_window: LEASE_MS * NANOS_PER_MS,
        num_replicas: this.replicas,
      };
      try {
        await askJetStream(this.requests, `STREAM.CREATE.${STREAM}`, config, context);
        return;
      } catch (error) {
        const kind = error instanceof JetStreamError ? kindOf(error) : undefined;
        // Another copy was faster.
        if (kind === "bucket_exists") return;
        if (kind !== "storage_exhausted" || storage === "file") throw error;
      }
    }
  }
}

export class BucketLock {
  private readonly holder = randomUUID();
  private sequence = 0;
  private renewAtMs = 0;
  /** Undefined where none was made lately. */
  private last: LastChange | undefined;

  constructor(
    private readonly locks: BucketLocks,
    private readonly bucket: string,
  ) {}

  /** Whether a change that is sent now reaches the storage within the lease. */
  get isFresh(): boolean {
    return performance.now() < this.renewAtMs;
  }

  /** Whether a description of the bucket shows the last holder's change: that of a cluster's new leader may be older. */
  isShownBy({ created, config }: StreamInfo): boolean {
    return this.last?.created !== created || config.metadata?.[CHANGE_ID_KEY] === this.last.id;
  }

  /** Acquires the lease, or renews it where it is still held. Throws `KvError`. */
  async hold(context: CallContext): Promise<void> {
    for (let expected = this.sequence; ;) {
      const sentMs = performance.now();
      try {
        const sequence = await this.locks.write(this.bucket, this.record(this.holder), expected, context);
        if (sequence !== undefined) {
          this.sequence = sequence;
          this.renewAtMs = sentMs + LEASE_MS / 2;
          return;
        }
        const stored = await this.locks.read(this.bucket, context);
        this.last = stored?.record.last;
        const holder = stored?.record.holder;
        const isFree = holder === undefined || holder === this.holder;
        expected = isFree ? (stored?.sequence ?? 0) : 0;
        if (!isFree) throw beingChanged(this.bucket);
      } catch (error) {
        if (!isRetryable(error, context)) throw toKvError(error, { bucket: this.bucket });
        await delay(POLL_INTERVAL_MS * (0.5 + Math.random()));
      }
    }
  }

  /** Ends the lease. Never fails: the storage ends it anyway. `change`: what this holder changed; default: nothing. */
  async release(change = this.last): Promise<void> {
    this.last = change;
    const context = { deadlineMs: performance.now() + ANSWER_TIMEOUT_MS, signal: NEVER_ABORTED };
    await this.locks.write(this.bucket, this.record(), this.sequence, context).catch(() => undefined);
  }

  private record(holder?: string): LeaseRecord {
    return {
      ...(holder === undefined ? {} : { holder }),
      ...(this.last === undefined ? {} : { last: this.last }),
    };
  }
}

function beingChanged(bucket: string): KvError {
  return new KvError(
    "unavailable",
    `The bucket ${quote(bucket)} is being changed through another copy of the service. Try again.`,
    { bucket },
  );
}
