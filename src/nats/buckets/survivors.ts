/**
 * Records which messages of a bucket were stored when its tombstones were compacted.
 *
 * nats-server writes no record when a newer message of the subject replaces a message (filestore.go, `removeMsgViaLimits`). When it rebuilds a
 * stream from its files after a kill or a power failure, the newest message of the subject replaces the old one again. If that was a
 * compacted tombstone, the old value is restored. Therefore the sequences of all stored messages are recorded before tombstones are removed.
 * After a restart of the storage, restart-check.ts removes every older message that is not among them.
 */
import { randomUUID } from "node:crypto";
import type { Limits } from "../../kv/limits.js";
import { streamName, subjectPrefix } from "../../kv/names.js";
import type { CallContext } from "../../kv/call-context.js";
import { JetStreamError, kindOf, toKvError } from "../client/errors.js";
import {
  askJetStream,
  parseAnswer,
  purgeStream,
  readJetStream,
  SLOW_ANSWER_GROWTH,
  type StreamConfig,
  streamInfo,
  untilAnswered,
} from "../client/jetstream-api.js";
import { isNoResponders, type MessageReader, type Place } from "../client/message-reader.js";
import { type Requests, SMALL_ANSWER_BYTES } from "../client/requests.js";
import { streamConfigOf } from "../streams/stream-config.js";
import { decodeRuns, encodeRuns, type Runs } from "./sequence-runs.js";
import type { StoredSequences } from "./stored-sequences.js";

/** Names a record in the metadata of the bucket's stream. */
export interface SurvivorsMark {
  readonly id: string;
  /** Messages up to this sequence are recorded. */
  readonly upTo: number;
  /** The time of the record by the storage's clock, in milliseconds since 1970: messages stored later are new. */
  readonly timeMs: number;
  readonly parts: number;
}

const MARK_KEY = "ironflow.stored";
const NAME = "compactions";
const OWNER = "SYS_";
const STREAM = streamName(NAME, OWNER);
const SUBJECT_PREFIX = subjectPrefix(NAME, OWNER);
const PART_BYTES = 524_288;
/** On a page of the list of subjects (JetStream API). */
const SUBJECTS_PAGE_MAX = 100_000;
/** The prefix, a bucket's name of 64 characters, an ID, the number of the part, and JSON around them. */
const SUBJECT_BYTES_MAX = 160;

export function survivorsMark({ metadata }: StreamConfig): SurvivorsMark | undefined {
  const text = metadata?.[MARK_KEY];
  return text === undefined ? undefined : (JSON.parse(text) as SurvivorsMark);
}

/** Adds a mark, unless the stream has a later one: that covers the removals before the earlier one. */
export function withSurvivorsMark(config: StreamConfig, mark: SurvivorsMark): StreamConfig {
  if ((survivorsMark(config)?.upTo ?? 0) >= mark.upTo) return config;
  return { ...config, metadata: { ...config.metadata, [MARK_KEY]: JSON.stringify(mark) } };
}

interface SubjectPage {
  readonly state: { readonly subjects?: Readonly<Record<string, number>> };
}

/** Stores the records, in a system stream. */
export class Survivors {
  private unmarkedSinceMs = new Map<string, number>();

  constructor(
    private readonly requests: Requests,
    private readonly reader: MessageReader,
    private readonly limits: Limits,
    private readonly replicas: number,
  ) {}

  /** Stores a record. It takes effect when its mark is in the bucket's metadata. Throws `KvError`. */
  async save(
    place: Place,
    { runs, upTo, timeMs }: StoredSequences,
    context: CallContext,
  ): Promise<SurvivorsMark> {
    const id = randomUUID();
    let parts = 0;
    try {
      for (const data of encodeRuns(runs, PART_BYTES)) {
        const subject = subjectOf(place, id, parts++);
        // Idempotent: the stream keeps the last message of a subject.
        const write = (shorter: CallContext): Promise<void> => this.write(subject, data, shorter);
        await untilAnswered(context, write, SLOW_ANSWER_GROWTH);
      }
    } catch (error) {
      throw toKvError(error, { bucket: place.bucket });
    }
    return { id, upTo, timeMs, parts };
  }

  /** The sequences of a record; undefined if a part is missing. Throws `KvError`. */
  async load(place: Place, mark: SurvivorsMark, context: CallContext): Promise<Runs | undefined> {
    const parts: Uint8Array[] = [];
    for (let part = 0; part < mark.parts; part++) {
      const subject = subjectOf(place, mark.id, part);
      const stored = await this.reader.newest({ bucket: NAME, stream: STREAM }, subject, context);
      if (stored === undefined) return undefined;
      parts.push(stored.data);
    }
    return decodeRuns(Buffer.concat(parts));
  }

  async drop({ bucket }: Place, { id }: SurvivorsMark, context: CallContext): Promise<void> {
    await this.purge(`${bucket}.${id}`, context);
  }

  /**
   * Removes records that no bucket's mark names: of deleted buckets, and of compactions that were interrupted. `marked`: the IDs of all marks.
   * Another copy may be about to write its mark, so a record goes in the first call that finds it unmarked for `unmarkedMs`.
   */
  async dropUnmarked(marked: ReadonlySet<string>, unmarkedMs: number, context: CallContext): Promise<void> {
    const sinceMs = new Map<string, number>();
    const nowMs = performance.now();
    for (const record of await this.records(context)) {
      if (marked.has(record.slice(record.indexOf(".") + 1))) continue;
      const firstMs = this.unmarkedSinceMs.get(record) ?? nowMs;
      if (nowMs - firstMs >= unmarkedMs) await this.purge(record, context);
      else sinceMs.set(record, firstMs);
    }
    this.unmarkedSinceMs = sinceMs;
  }

  /** Of each record `<bucket>.<id>`. */
  private async records(context: CallContext): Promise<ReadonlySet<string>> {
    const records = new Set<string>();
    let count: number;
    try {
      count = (await streamInfo(this.requests, STREAM, context)).state.num_subjects ?? 0;
    } catch (error) {
      // Nothing was compacted yet.
      if (error instanceof JetStreamError && kindOf(error) === "bucket_not_found") return records;
      throw error;
    }
    const expected = {
      bytesMax: SMALL_ANSWER_BYTES + Math.min(count, SUBJECTS_PAGE_MAX) * SUBJECT_BYTES_MAX,
    };
    for (let offset = 0; offset < count;) {
      const body = { subjects_filter: `${SUBJECT_PREFIX}>`, offset };
      const operation = `STREAM.INFO.${STREAM}`;
      const { state } = await readJetStream<SubjectPage>(this.requests, operation, body, context, expected);
      const subjects = Object.keys(state.subjects ?? {});
      for (const subject of subjects)
        records.add(subject.slice(SUBJECT_PREFIX.length, subject.lastIndexOf(".")));
      if (subjects.length === 0) break;
      offset += subjects.length;
    }
    return records;
  }

  private async purge(record: string, context: CallContext): Promise<void> {
    await purgeStream(this.requests, STREAM, { filter: `${SUBJECT_PREFIX}${record}.>` }, context);
  }

  private async write(subject: string, data: Uint8Array, context: CallContext): Promise<void> {
    try {
      parseAnswer((await this.requests.one(subject, data, undefined, context)).data);
    } catch (error) {
      if (!isNoResponders(error)) throw error;
      const config = streamConfigOf({ name: NAME }, this.limits, this.replicas, { owner: OWNER });
      await askJetStream(this.requests, `STREAM.CREATE.${STREAM}`, config, context).catch(
        (refusal: unknown) => {
          // Another instance created it first.
          if (!(refusal instanceof JetStreamError) || kindOf(refusal) !== "bucket_exists") throw refusal;
        },
      );
      parseAnswer((await this.requests.one(subject, data, undefined, context)).data);
    }
  }
}

function subjectOf({ bucket }: Place, id: string, part: number): string {
  return `${SUBJECT_PREFIX}${bucket}.${id}.${part}`;
}
