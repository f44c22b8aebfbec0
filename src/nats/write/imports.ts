/**
 * Entries as they stood in another bucket, written one after the other.
 *
 * What is applied of a call is always a first part of it, in its order and without a gap; and a call that is sent twice is applied once.
 * The condition for that is the bucket's revision, and it is not enough for entries that are sent without waiting for the ones before
 * them: somebody else's write could stand in for one of ours. Therefore each but the first names the message before it, by its id.
 *
 * On a cluster that condition must not be used: where it fails, the copies of the bucket stop, all of them (nats-server 2.14.0, seen).
 * There every entry waits for the one before it.
 */
import { randomBytes } from "node:crypto";
import { invalidArgument, KvError } from "../../kv/errors.js";
import type { Limits } from "../../kv/limits.js";
import { quote } from "../../kv/names.js";
import type { CallContext } from "../../kv/call-context.js";
import type { ImportedEntry, ImportResult } from "../../kv/writes.js";
import type { BucketConfigCache, CachedBucket } from "../streams/bucket-config-cache.js";
import type { BucketQuota } from "./bucket-quota.js";
import { type DiskRoom, storedBytes } from "../embedded/disk-guard.js";
import { type KeyPlace, placeOf } from "../read/entries.js";
import { DELETE_LINE, NO_EXPIRY_LINE, PURGE_LINES } from "./tombstone-headers.js";
import { JetStreamError, kindOf, outcomeUnknown, toKvError } from "../client/errors.js";
import { parseAnswer } from "../client/jetstream-api.js";
import { RawHeaders, MESSAGE_ID_HEADER } from "../client/messages.js";
import { existing, isNoResponders, type Place, whyNoResponders } from "../client/message-reader.js";
import type { ReadCache } from "../read/read-cache.js";
import { type Requests, NoReplyError } from "../client/requests.js";
import {
  contentTypeLine,
  metadataLine,
  tooLarge,
  ttlLines,
  ttlNotSupported,
  valueBytesMaxOf,
} from "./value-limits.js";

export interface ImportsOptions {
  readonly requests: Requests;
  readonly isClustered: boolean;
  readonly facts: BucketConfigCache;
  readonly quota: BucketQuota;
  readonly cache: ReadCache | undefined;
  readonly disk: DiskRoom;
  /** Configures a bucket's stream to accept messages with a TTL. */
  readonly allowTtl: (place: Place, context: CallContext) => Promise<unknown>;
  readonly limits: Limits;
  /** The largest message that the storage takes, headers included. */
  readonly maxPayloadBytes: number;
}

/** An entry, checked. */
interface Message {
  readonly place: KeyPlace;
  readonly data: Uint8Array;
  readonly headerLines: string;
  /** Of the stored metadata, which counts as part of the value. */
  readonly metadataBytes: number;
  /** When the entry expires by the storage's clock; undefined: never. */
  readonly expiresAtMs: number | undefined;
}

const EXPECTED_SEQUENCE_HEADER = "Nats-Expected-Last-Sequence";
const EXPECTED_ID_HEADER = "Nats-Expected-Last-Msg-Id";
const NO_BYTES = new Uint8Array(0);
const CALL_ID_BYTES = 12;
/** The part of a call's time after which no further entry is begun: what was done is to be told. */
const TIME_FRACTION = 0.5;

export class Imports {
  constructor(private readonly options: ImportsOptions) {}

  /** See `Store.importEntries`. */
  async write(
    bucket: string,
    afterRevision: bigint,
    entries: readonly ImportedEntry[],
    context: CallContext,
  ): Promise<ImportResult> {
    const { cache, disk, facts, limits } = this.options;
    if (entries.length === 0 || entries.length > limits.importedEntriesMax) {
      throw invalidArgument(
        `The call has ${entries.length} entries; a call must have 1 to ${limits.importedEntriesMax}.`,
        { bucket },
      );
    }
    const messages = entries.map((entry) => this.check(bucket, entry));
    const first = messages[0] as Message;
    const sized = await this.withinBucketRules(first, messages, context);
    const { allowed, release } = await this.withinRoom(sized, context);
    const known = facts.recent(first.place) ?? (await facts.read(first.place, context));
    const nowMs = Date.now() + known.clockAheadMs;
    const living = allowed.map((message) => withTtl(message, nowMs, limits));
    const stored = known.keepsTombstones ? living.map(withoutExpiry) : living;
    const bytes = allowed.reduce((sum, { place, data }) => sum + storedBytes(place.subject, data), 0);
    const use = allowed.some(({ data }) => data.length > 0) ? "value" : "record";
    const send = (): Promise<ImportResult> =>
      disk
        .admit(use, bytes, { bucket }, () => this.send(first, stored, afterRevision, context))
        .finally(release);
    return cache === undefined ? send() : cache.duringBucket(first.place.stream, send);
  }

  private check(bucket: string, entry: ImportedEntry): Message {
    const place = placeOf(bucket, entry.key);
    if (entry.operation !== "put") {
      if (entry.value.length > 0) {
        throw invalidArgument(`The entry of the key ${quote(entry.key)} deletes it, and has a value.`);
      }
      return {
        ...{ place, data: entry.value, metadataBytes: 0, expiresAtMs: undefined },
        headerLines: entry.operation === "purge" ? PURGE_LINES : DELETE_LINE,
      };
    }
    const { limits } = this.options;
    const { value, expiresAtMs } = entry;
    const metadata = metadataLine(entry.metadata, limits);
    const most = valueBytesMaxOf(this.options);
    if (value.length + metadata.length > most)
      throw tooLarge(place, value.length, most, "the service", metadata.length);
    const headerLines = contentTypeLine(entry.contentType, limits) + metadata;
    return { place, data: value, headerLines, metadataBytes: metadata.length, expiresAtMs };
  }

  /** The entries before the first whose value exceeds the bucket's limit, or that has a TTL if the bucket does not support it. */
  private async withinBucketRules(
    first: Message,
    messages: readonly Message[],
    context: CallContext,
  ): Promise<readonly Message[]> {
    const { facts } = this.options;
    const isOver = ({ data, metadataBytes }: Message, most: number): boolean =>
      most > 0 && data.length + metadataBytes > most;
    const isRefused = (message: Message, { maxValueSize, history }: CachedBucket): boolean =>
      isOver(message, maxValueSize) || (history !== 1 && message.expiresAtMs !== undefined);
    let known = facts.recent(first.place) ?? (await facts.read(first.place, context));
    if (messages.some((message) => isRefused(message, known))) {
      known = await facts.read(first.place, context);
    }
    const { maxValueSize, history } = known;
    const end = messages.findIndex((message) => isRefused(message, known));
    if (end === 0) {
      if (!isOver(first, maxValueSize)) throw ttlNotSupported(first.place, history);
      throw tooLarge(first.place, first.data.length, maxValueSize, "the bucket", first.metadataBytes);
    }
    const accepted = end < 0 ? messages : messages.slice(0, end);
    const hasTtl = accepted.some(({ expiresAtMs }) => expiresAtMs !== undefined);
    if (hasTtl && !known.allowsTtl) await this.options.allowTtl(first.place, context);
    return accepted;
  }

  /** The entries before the first for which the bucket has no room. */
  private async withinRoom(
    messages: readonly Message[],
    context: CallContext,
  ): Promise<{ readonly allowed: readonly Message[]; readonly release: () => void }> {
    const { facts, quota } = this.options;
    const releases: (() => void)[] = [];
    const release = (): void => {
      for (const one of releases) one();
    };
    for (const [index, { place, data, headerLines, metadataBytes }] of messages.entries()) {
      if (headerLines === PURGE_LINES || headerLines === DELETE_LINE) continue;
      try {
        const known = facts.recent(place) ?? (await facts.read(place, context));
        releases.push(
          await quota.admit(place, place.subject, data.length + metadataBytes, known, context, false),
        );
      } catch (error) {
        if (index > 0 && error instanceof KvError && error.kind === "bucket_full")
          return { allowed: messages.slice(0, index), release };
        release();
        throw error;
      }
    }
    return { allowed: messages, release };
  }

  private async send(
    { place }: Message,
    messages: readonly Message[],
    afterRevision: bigint,
    context: CallContext,
  ): Promise<ImportResult> {
    const { requests, isClustered } = this.options;
    const refusals = isClustered
      ? await this.oneByOne(messages, afterRevision, context)
      : await this.allAtOnce(messages, afterRevision, context);
    let imported = 0;
    for (const refusal of refusals) {
      if (refusal === undefined) {
        imported++;
        continue;
      }
      const about = { bucket: place.bucket, key: messages[imported]?.place.key };
      // One without an answer may have been written, and then those after it too.
      if (refusal instanceof NoReplyError && refusal.sent) throw outcomeUnknown(about, refusal);
      if (imported > 0) break;
      if (isNoResponders(refusal)) throw await whyNoResponders(requests, place, context, about);
      if (refusal instanceof JetStreamError && kindOf(refusal) === "revision_mismatch") {
        throw await this.mismatch(place, afterRevision, context);
      }
      throw toKvError(refusal, about);
    }
    return { imported, revision: afterRevision + BigInt(imported) };
  }

  /** Sends the messages; gives for each why it was not stored, undefined where it was. */
  private allAtOnce(
    messages: readonly Message[],
    afterRevision: bigint,
    context: CallContext,
  ): Promise<unknown[]> {
    const callId = randomBytes(CALL_ID_BYTES).toString("base64url");
    const sent = messages.map((message, index) => {
      const condition =
        index === 0
          ? `${EXPECTED_SEQUENCE_HEADER}: ${afterRevision.toString()}`
          : `${EXPECTED_ID_HEADER}: ${callId}.${index - 1}`;
      return this.refusalOf(message, `${MESSAGE_ID_HEADER}: ${callId}.${index}\r\n${condition}`, context);
    });
    return Promise.all(sent);
  }

  /** The same up to the first that was not stored, or for as long as there is time to answer. */
  private async oneByOne(
    messages: readonly Message[],
    afterRevision: bigint,
    context: CallContext,
  ): Promise<unknown[]> {
    const startMs = performance.now();
    const stopMs = startMs + (context.deadlineMs - startMs) * TIME_FRACTION;
    const refusals: unknown[] = [];
    for (const message of messages) {
      const expected = afterRevision + BigInt(refusals.length);
      const condition = `${EXPECTED_SEQUENCE_HEADER}: ${expected.toString()}`;
      const refusal = await this.refusalOf(message, condition, context);
      refusals.push(refusal);
      if (refusal !== undefined || performance.now() >= stopMs) break;
    }
    return refusals;
  }

  private async refusalOf(message: Message, conditionLines: string, context: CallContext): Promise<unknown> {
    const headers = new RawHeaders(`${conditionLines}\r\n${message.headerLines}`);
    try {
      const { data } = await this.options.requests.one(message.place.subject, message.data, headers, context);
      parseAnswer(data);
      return undefined;
    } catch (error) {
      return error;
    }
  }

  private async mismatch(place: KeyPlace, afterRevision: bigint, context: CallContext): Promise<KvError> {
    const current = BigInt((await existing(this.options.requests, place, context)).state.last_seq);
    return new KvError(
      "revision_mismatch",
      `The revision of the bucket ${quote(place.bucket)} is not ${afterRevision.toString()}: it is ${current.toString()}.`,
      { bucket: place.bucket, revision: current },
    );
  }
}

/** The message with the TTL that is left; a purge if less than a second is. */
function withTtl(message: Message, nowMs: number, limits: Limits): Message {
  if (message.expiresAtMs === undefined) return message;
  const leftMs = message.expiresAtMs - nowMs;
  if (leftMs < limits.ttlMsMin) return { ...message, data: NO_BYTES, headerLines: PURGE_LINES };
  const lines = ttlLines(Math.min(leftMs, limits.ttlMsMax), limits);
  return { ...message, headerLines: message.headerLines + lines };
}

function withoutExpiry(message: Message): Message {
  if (message.headerLines !== DELETE_LINE) return message;
  return { ...message, headerLines: DELETE_LINE + NO_EXPIRY_LINE };
}
