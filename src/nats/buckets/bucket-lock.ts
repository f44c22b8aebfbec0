/**
 * A lease for changing one bucket, shared by all instances of the service.
 *
 * JetStream's STREAM.UPDATE replaces the complete configuration and has no precondition (nats-server's `jsStreamUpdateRequest`): if two
 * instances read, change and write at the same time, one change is lost. Publishing a message has a precondition, so the lease is a message:
 * the holder is the instance whose message with `Nats-Expected-Last-Subject-Sequence` was stored. The storage drops it after
 * {@link LEASE_MS}, so a holder that dies blocks others no longer than that. A holder sends a change only in the first half of its lease, and
 * does not release the lease while the outcome is unknown: a change in flight reaches the storage before the lease ends.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { KvError } from "../../kv/errors.js";
import { quote, streamName, subjectPrefix } from "../../kv/names.js";
import type { CallContext } from "../../kv/call-context.js";
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

/** The last holder's change: an instance that reads an older configuration must read again. */
export interface LastChange {
  readonly id: string;
  /** When the bucket was created, as the storage writes it. */
  readonly created: string;
}

/** The message of the lease: its holder, or the change of the last holder. */
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
/** Longer than a sent request can wait in the storage before it is applied. */
const LEASE_MS = 10_000;
const NANOS_PER_MS = 1_000_000;
/** The interval at which an instance tries to acquire a held lease. */
const POLL_INTERVAL_MS = 10;
const ANSWER_TIMEOUT_MS = 2_000;
const NEVER_ABORTED = new AbortController().signal;

export class BucketLocks {
  constructor(
    private readonly requests: Requests,
    private readonly replicas: number,
  ) {}

  /** Waits until no other instance changes the bucket. Throws `KvError`; `unavailable` if the context ends first. */
  async acquire(bucket: string, context: CallContext): Promise<BucketLock> {
    const lock = new BucketLock(this, bucket);
    await lock.hold(context);
    return lock;
  }

  /** Stores a record if the subject's last sequence is the expected one. Returns its sequence; undefined if it was not stored. */
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

  /** In memory, so that buckets can be deleted while the disk is full; on disk if the account allows no memory storage. */
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
        // Another instance created it first.
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
  /** Undefined if there was no recent change. */
  private last: LastChange | undefined;

  constructor(
    private readonly locks: BucketLocks,
    private readonly bucket: string,
  ) {}

  /** Whether a change sent now reaches the storage within the lease. */
  get isFresh(): boolean {
    return performance.now() < this.renewAtMs;
  }

  /** Whether the stream's info includes the last holder's change. That of a cluster's new leader may be older. */
  isIncludedIn({ created, config }: StreamInfo): boolean {
    return this.last?.created !== created || config.metadata?.[CHANGE_ID_KEY] === this.last.id;
  }

  /** Acquires the lease, or renews it if it is still held. Throws `KvError`. */
  async hold(context: CallContext): Promise<void> {
    let isHeldElsewhere = false;
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
        isHeldElsewhere = !isFree;
        if (isHeldElsewhere) throw beingChanged(this.bucket);
      } catch (error) {
        if (!isRetryable(error, context)) {
          const known = toKvError(error, { bucket: this.bucket });
          throw isHeldElsewhere && known.kind === "deadline_exceeded" ? beingChanged(this.bucket) : known;
        }
        await delay(POLL_INTERVAL_MS * (0.5 + Math.random()));
      }
    }
  }

  /** Releases the lease. Never fails: the lease expires anyway. `change`: this holder's change; default: none. */
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
    `Another instance of the service is changing the bucket ${quote(bucket)}. Try again.`,
    { bucket },
  );
}
