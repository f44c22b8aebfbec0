/** Reading and writing single keys. */
import type { KvErrorFacts } from "../kv/errors.js";
import { invalidArgument, KvError } from "../kv/errors.js";
import type { Limits } from "../kv/limits.js";
import { escapeKey, quote, streamName, subjectPrefix } from "../kv/names.js";
import type { CallScope, DeleteOptions, Entry, PutOptions } from "../kv/store.js";
import type { BucketFactsCache } from "./bucket-facts.js";
import { keyNotFound, toKvError } from "./errors.js";
import { askJetStream } from "./jetstream-api.js";
import { existing, type MessageReader, type Place, type StoredMessage } from "./newest.js";
import { CONTENT_TYPE_HEADER, entryOfKey, operationOf, OPERATION_HEADER } from "./records.js";
import type { Requests } from "./requests.js";
import { HEADER_BYTES_MAX } from "./stream-config.js";
import { MISMATCH, type Write, type Writer } from "./writes.js";

export interface EntriesOptions {
  readonly requests: Requests;
  readonly reader: MessageReader;
  readonly writer: Writer;
  readonly facts: BucketFactsCache;
  readonly limits: Limits;
  /** The largest message that the storage takes, headers included. */
  readonly maxPayloadBytes: number;
}

/** A key, checked, and where it is stored. */
export interface KeyPlace extends Place {
  readonly key: string;
  readonly subject: string;
}

/** Checks the names and says where the key is stored. Throws `invalid_argument`. */
export function placeOf(bucket: string, key: string): KeyPlace {
  return { bucket, key, stream: streamName(bucket), subject: subjectPrefix(bucket) + escapeKey(key) };
}

const CONTENT_TYPE = /^[\x20-\x7e]*$/;
const NO_BYTES = new Uint8Array(0);
const DELETE_LINE = `${OPERATION_HEADER}: DEL\r\n`;
const PURGE_LINES = `${OPERATION_HEADER}: PURGE\r\nNats-Rollup: sub\r\n`;

export class Entries {
  constructor(private readonly options: EntriesOptions) {}

  async get(bucket: string, key: string, revision: bigint, scope: CallScope): Promise<Entry> {
    const place = placeOf(bucket, key);
    const message =
      revision === 0n
        ? await this.options.reader.newest(place, place.subject, scope)
        : await this.atRevision(place, revision, scope);
    if (message === undefined) throw keyNotFound(bucket, key);
    const entry = entryOfMessage(key, message);
    if (entry.operation !== "put") throw keyNotFound(bucket, key);
    return entry;
  }

  async put(
    bucket: string,
    key: string,
    value: Uint8Array,
    options: PutOptions,
    scope: CallScope,
  ): Promise<bigint> {
    const place = placeOf(bucket, key);
    const headerLines = contentTypeLine(options.contentType ?? "", this.options.limits);
    this.checkValueSize(place, value.length);
    let facts = this.options.facts.recent(place);
    if (facts === undefined || isOver(value.length, facts.maxValueSize)) {
      facts = await this.options.facts.read(place, scope);
    }
    if (isOver(value.length, facts.maxValueSize)) {
      throw tooLarge(place, value.length, facts.maxValueSize, "the bucket");
    }
    const write: Write = {
      place,
      subject: place.subject,
      key,
      data: value,
      headerLines,
      expected: undefined,
    };
    const condition = options.condition ?? "always";
    if (condition === "always") return accepted(await this.options.writer.write(write, facts, scope));
    if (condition === "if_absent") return this.putIfAbsent(place, write, scope);
    return this.writeIfRevision(place, write, condition.ifRevision, scope);
  }

  async delete(bucket: string, key: string, options: DeleteOptions, scope: CallScope): Promise<bigint> {
    const place = placeOf(bucket, key);
    const condition = options.condition ?? "always";
    if (condition === "if_absent") {
      throw invalidArgument("A delete takes no condition but a revision.", aboutOf(place));
    }
    if (condition !== "always") checkCondition(place, condition.ifRevision);
    const isPurge = options.purge === true;
    const newest = await this.options.reader.newest(place, place.subject, scope);
    if (condition !== "always") checkRevision(place, condition.ifRevision, newest);
    if (newest === undefined || isGone(newest, isPurge)) return 0n;
    const headerLines = isPurge ? PURGE_LINES : DELETE_LINE;
    const write: Write = {
      place,
      subject: place.subject,
      key,
      data: NO_BYTES,
      headerLines,
      expected: undefined,
    };
    const send = (): Promise<bigint> =>
      condition === "always"
        ? this.write(write, scope).then(accepted)
        : this.writeIfRevision(place, write, condition.ifRevision, scope);
    try {
      return await send();
    } catch (error) {
      if (!isPurge || !(error instanceof KvError) || error.kind !== "bucket_full") throw error;
      await this.makeRoom(place, newest.sequence, scope);
      return await send();
    }
  }

  /**
   * Removes a key's revisions where the bucket is too full to take the marker that would: all but the newest, so that a purge whose
   * second half never comes leaves the key's value as it was. Nothing else could free the space.
   */
  private async makeRoom(place: KeyPlace, newest: bigint, scope: CallScope): Promise<void> {
    const body = { filter: place.subject, seq: Number(newest) };
    try {
      await askJetStream(this.options.requests, `STREAM.PURGE.${place.stream}`, body, scope);
    } catch (error) {
      throw toKvError(error, aboutOf(place));
    }
  }

  private async atRevision(
    place: KeyPlace,
    revision: bigint,
    scope: CallScope,
  ): Promise<StoredMessage | undefined> {
    if (revision < 0n) throw invalidArgument("The revision is negative.", aboutOf(place));
    const { reader, requests } = this.options;
    let message = await reader.at(place, revision, scope);
    if (message === undefined) {
      const newest = BigInt((await existing(requests, place, scope)).state.last_seq);
      if (revision > newest) throw inFuture(place, revision, newest);
      // It may have been written between the two looks.
      message = await reader.at(place, revision, scope);
      if (message === undefined) throw compacted(place, revision);
    }
    return message.subject === place.subject ? message : undefined;
  }

  private async write(write: Write, scope: CallScope): Promise<bigint | typeof MISMATCH> {
    const { facts, writer } = this.options;
    const known = facts.recent(write.place) ?? (await facts.read(write.place, scope));
    return writer.write(write, known, scope);
  }

  /** A tombstone counts as absent: the write replaces exactly the one that was seen. */
  private async putIfAbsent(place: KeyPlace, write: Write, scope: CallScope): Promise<bigint> {
    let expected = 0n;
    for (;;) {
      const outcome = await this.write({ ...write, expected }, scope);
      if (outcome !== MISMATCH) return outcome;
      const newest = await this.options.reader.newest(place, place.subject, scope);
      if (newest !== undefined && operationOf(newest.headers) === "put") {
        throw new KvError("key_exists", `The key ${quote(place.key)} has a value.`, {
          ...aboutOf(place),
          revision: newest.sequence,
        });
      }
      expected = newest?.sequence ?? 0n;
    }
  }

  private async writeIfRevision(
    place: KeyPlace,
    write: Write,
    expected: bigint,
    scope: CallScope,
  ): Promise<bigint> {
    checkCondition(place, expected);
    for (;;) {
      const outcome = await this.write({ ...write, expected }, scope);
      if (outcome !== MISMATCH) return outcome;
      // A cluster also refuses while another write of the key is under way: then the newest may still be ours.
      checkRevision(place, expected, await this.options.reader.newest(place, place.subject, scope));
    }
  }

  /** The service's own limit; the bucket's is among its facts. */
  private checkValueSize(place: KeyPlace, bytes: number): void {
    const most = Math.min(this.options.limits.valueBytesMax, this.options.maxPayloadBytes - HEADER_BYTES_MAX);
    if (bytes > most) throw tooLarge(place, bytes, most, "the service");
  }
}

/** The revision of a write that had no condition. */
function accepted(outcome: bigint | typeof MISMATCH): bigint {
  if (outcome === MISMATCH) throw new KvError("internal", "A write without a condition was refused for one.");
  return outcome;
}

/** The entry that a stored message is. */
export function entryOfMessage(key: string, message: StoredMessage): Entry {
  return entryOfKey(key, {
    data: message.data,
    headers: message.headers,
    revision: message.sequence,
    timeMs: message.timeMs,
    timeNanos: message.timeNanos,
  });
}

/** Whether there is nothing left to delete, or to purge: a deleted key still has a history, a purged or expired one has none. */
function isGone(newest: StoredMessage, isPurge: boolean): boolean {
  const operation = operationOf(newest.headers);
  return isPurge ? operation === "purge" || operation === "expire" : operation !== "put";
}

function isOver(bytes: number, most: number): boolean {
  return most > 0 && bytes > most;
}

function contentTypeLine(contentType: string, limits: Limits): string {
  if (contentType === "") return "";
  if (contentType.length <= limits.contentTypeBytesMax && CONTENT_TYPE.test(contentType)) {
    return `${CONTENT_TYPE_HEADER}: ${contentType}\r\n`;
  }
  throw invalidArgument(
    `The content type ${quote(contentType)} is malformed; it takes up to ${limits.contentTypeBytesMax} printable ASCII characters.`,
  );
}

function checkCondition(place: KeyPlace, expected: bigint): void {
  if (expected < 1n) throw invalidArgument("The revision of a condition is at least 1.", aboutOf(place));
}

function checkRevision(place: KeyPlace, expected: bigint, newest: StoredMessage | undefined): void {
  const current = newest?.sequence ?? 0n;
  if (current === expected) return;
  const found = current === 0n ? "it has none" : `it is ${current.toString()}`;
  throw new KvError(
    "revision_mismatch",
    `The newest revision of the key ${quote(place.key)} is not ${expected.toString()}: ${found}.`,
    { ...aboutOf(place), revision: current },
  );
}

function tooLarge(place: KeyPlace, bytes: number, most: number, whose: string): KvError {
  return new KvError(
    "value_too_large",
    `The value has ${bytes} bytes; ${whose} takes at most ${most}.`,
    aboutOf(place),
  );
}

function inFuture(place: KeyPlace, revision: bigint, newest: bigint): KvError {
  return new KvError(
    "revision_in_future",
    `The revision ${revision.toString()} has not been written; the bucket's newest is ${newest.toString()}.`,
    { ...aboutOf(place), revision: newest },
  );
}

function compacted(place: KeyPlace, revision: bigint): KvError {
  return new KvError(
    "revision_compacted",
    `The revision ${revision.toString()} is no longer kept.`,
    aboutOf(place),
  );
}

function aboutOf(place: KeyPlace): KvErrorFacts {
  return { bucket: place.bucket, key: place.key };
}
