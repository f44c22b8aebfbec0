/**
 * Which messages of a bucket were stored when its tombstones were compacted.
 *
 * nats-server writes no record of a message that a newer one of its subject pushes out (filestore.go, `removeMsgViaLimits`): when it rebuilds a
 * stream from its files after a kill or a power failure, the newest message of the subject pushes it out again. Where that one was a tombstone
 * that is gone, the old value is back. So the sequences of what is stored are recorded before tombstones are removed, and after a restart of
 * the storage every older message that is not among them is removed again (restart-check.ts).
 */
import { randomUUID } from "node:crypto";
import type { Limits } from "../../kv/limits.js";
import { streamName, subjectPrefix } from "../../kv/names.js";
import type { CallContext } from "../../kv/store.js";
import { JetStreamError, kindOf, toKvError } from "../client/errors.js";
import {
  askJetStream,
  parseAnswer,
  purgeStream,
  SLOW_ANSWER_GROWTH,
  type StreamConfig,
  untilAnswered,
} from "../client/jetstream-api.js";
import { isNoResponders, type MessageReader, type Place } from "../client/message-reader.js";
import type { Requests } from "../client/requests.js";
import { streamConfigOf } from "../streams/stream-config.js";

/** Names a record in the metadata of the bucket's stream. */
export interface SurvivorsMark {
  readonly id: string;
  /** Messages up to this sequence are recorded. */
  readonly upTo: number;
  /** When they were, by the storage's clock, in milliseconds since 1970: what is stored later is new. */
  readonly timeMs: number;
  readonly parts: number;
}

const MARK_KEY = "ironflow.survivors";
const NAME = "compactions";
const OWNER = "SYS_";
const STREAM = streamName(NAME, OWNER);
const SUBJECT_PREFIX = subjectPrefix(NAME, OWNER);
const PART_BYTES = 524_288;
const PAYLOAD_BITS = 7;
const MORE_BIT = 0x80;

export function survivorsMark({ metadata }: StreamConfig): SurvivorsMark | undefined {
  const text = metadata?.[MARK_KEY];
  return text === undefined ? undefined : (JSON.parse(text) as SurvivorsMark);
}

/** The later of two records covers what was removed before the earlier one. */
export function withSurvivorsMark(config: StreamConfig, mark: SurvivorsMark): StreamConfig {
  if ((survivorsMark(config)?.upTo ?? 0) >= mark.upTo) return config;
  return { ...config, metadata: { ...config.metadata, [MARK_KEY]: JSON.stringify(mark) } };
}

/** Ascending numbers as the differences between them, seven bits a byte. */
export function encodeSequences(sequences: readonly number[]): Uint8Array {
  const bytes: number[] = [];
  let before = 0;
  for (const sequence of sequences) {
    let gap = sequence - before;
    before = sequence;
    for (; gap >= MORE_BIT; gap = Math.floor(gap / MORE_BIT)) bytes.push((gap % MORE_BIT) + MORE_BIT);
    bytes.push(gap);
  }
  return Uint8Array.from(bytes);
}

export function decodeSequences(bytes: Uint8Array): Set<number> {
  const sequences = new Set<number>();
  let [sequence, gap, scale] = [0, 0, 1];
  for (const byte of bytes) {
    gap += (byte % MORE_BIT) * scale;
    scale *= 2 ** PAYLOAD_BITS;
    if (byte >= MORE_BIT) continue;
    sequence += gap;
    sequences.add(sequence);
    [gap, scale] = [0, 1];
  }
  return sequences;
}

/** Keeps the records, in a stream of the service's own. */
export class Survivors {
  constructor(
    private readonly requests: Requests,
    private readonly reader: MessageReader,
    private readonly limits: Limits,
    private readonly replicas: number,
  ) {}

  /** Stores a record; it counts once its mark is in the bucket's metadata. Throws `KvError`. */
  async save(
    place: Place,
    sequences: readonly number[],
    upTo: number,
    timeMs: number,
    context: CallContext,
  ): Promise<SurvivorsMark> {
    const bytes = encodeSequences(sequences);
    const mark = { id: randomUUID(), upTo, timeMs, parts: Math.ceil(bytes.length / PART_BYTES) };
    try {
      for (let part = 0; part < mark.parts; part++) {
        const data = bytes.subarray(part * PART_BYTES, (part + 1) * PART_BYTES);
        // Idempotent: of a subject, the last one stays.
        const write = (shorter: CallContext): Promise<void> =>
          this.write(subjectOf(place, mark, part), data, shorter);
        await untilAnswered(context, write, SLOW_ANSWER_GROWTH);
      }
    } catch (error) {
      throw toKvError(error, { bucket: place.bucket });
    }
    return mark;
  }

  /** The sequences of a record; undefined where a part of it is missing. Throws `KvError`. */
  async load(place: Place, mark: SurvivorsMark, context: CallContext): Promise<Set<number> | undefined> {
    const parts: Uint8Array[] = [];
    for (let part = 0; part < mark.parts; part++) {
      const stored = await this.reader.newest(
        { bucket: NAME, stream: STREAM },
        subjectOf(place, mark, part),
        context,
      );
      if (stored === undefined) return undefined;
      parts.push(stored.data);
    }
    return decodeSequences(Buffer.concat(parts));
  }

  async drop({ bucket }: Place, { id }: SurvivorsMark, context: CallContext): Promise<void> {
    const filter = `${SUBJECT_PREFIX}${bucket}.${id}.>`;
    await purgeStream(this.requests, STREAM, { filter }, context);
  }

  private async write(subject: string, data: Uint8Array, context: CallContext): Promise<void> {
    try {
      parseAnswer((await this.requests.one(subject, data, undefined, context)).data);
    } catch (error) {
      if (!isNoResponders(error)) throw error;
      const config = streamConfigOf({ name: NAME }, this.limits, this.replicas, { owner: OWNER });
      await askJetStream(this.requests, `STREAM.CREATE.${STREAM}`, config, context).catch(
        (refusal: unknown) => {
          // Another copy of the service was faster.
          if (!(refusal instanceof JetStreamError) || kindOf(refusal) !== "bucket_exists") throw refusal;
        },
      );
      parseAnswer((await this.requests.one(subject, data, undefined, context)).data);
    }
  }
}

function subjectOf({ bucket }: Place, { id }: SurvivorsMark, part: number): string {
  return `${SUBJECT_PREFIX}${bucket}.${id}.${part}`;
}
