/** Finds tombstones and removes them from the storage. */
import { setTimeout as delay } from "node:timers/promises";
import { type CallContext, flowOf } from "../../kv/call-context.js";
import { subjectPrefix as subjectPrefixOf } from "../../kv/names.js";
import { toKvError, unavailable } from "../client/errors.js";
import { purgeStream, readJetStream } from "../client/jetstream-api.js";
import type { MessageReader, Place } from "../client/message-reader.js";
import { operationOf } from "../streams/records.js";
import type { Requests } from "../client/requests.js";
import { PAGE_BYTES_MAX } from "../streams/stream-pages.js";
import { scanStream } from "../index/stream-scan.js";
import { StreamApi } from "../read/stream-api.js";
import type { MessageHead } from "../read/message-head.js";
import { READER_DESCRIPTION } from "../read/consumer-config.js";
import { type PullResult, Reader } from "../read/stream-reader.js";

export interface Tombstone {
  readonly subject: string;
  readonly sequence: number;
  readonly timeMs: number;
}

/** The part of a stream to scan. */
export interface TombstoneRange {
  readonly from: number;
  /** Only tombstones stored before this time, in milliseconds since 1970. */
  readonly beforeMs: number;
  /** Whether to include expiry markers, which the storage removes by itself. */
  readonly withMarkers: boolean;
}

const PULL_MESSAGES = 1_000;
const PULL_BYTES = 1_048_576;
/** The timeout of a pull without messages. Every message matches, so the server does not search for long. */
const SILENCE_MS = 3_000;
const RETRY_MS = 20;
const PURGES_AT_ONCE = 16;

/** Calls `onMessage` with every message up to a sequence. Waits for a replica that lags behind the leader. Throws `KvError`. */
export async function scanUpTo(
  requests: Requests,
  place: Place,
  upTo: number,
  storedMessageBytesMax: number,
  context: CallContext,
  onMessage: (head: MessageHead) => void,
): Promise<void> {
  const range = {
    ...{ subjectPrefix: subjectPrefixOf(place.bucket), start: { sequence: 1 }, upTo },
    flow: flowOf(context),
  };
  const onHead = (head: MessageHead): void => {
    if (head.revision <= upTo) onMessage(head);
  };
  await scanStream({ requests, storedMessageBytesMax }, place, range, onHead, context).catch(
    (error: unknown) => {
      throw toKvError(error, { bucket: place.bucket });
    },
  );
}

/**
 * Reads headers in the order of sequences. Ends where `onMessage` returns false, or `onPull`, which is called after each part. A reader that
 * is lost is replaced while NATS is available. Throws `KvError`.
 */
async function scanMessages(
  requests: Requests,
  place: Place,
  subjectPrefix: string,
  from: number,
  messageBytesMax: number,
  context: CallContext,
  onMessage: (head: MessageHead) => boolean,
  onPull: () => Promise<boolean>,
): Promise<void> {
  const api = new StreamApi(requests, place.bucket, place.stream, messageBytesMax);
  const options = {
    ...{ bytesMax: PULL_BYTES, headersOnly: true, context },
    silenceMs: SILENCE_MS,
  };
  const scan = { isOver: false, next: from };
  for (;;) {
    const start = { sequence: scan.next };
    const reader = await Reader.open(api, subjectPrefix, ">", { ...options, start });
    try {
      for (let result: PullResult | undefined; result !== "lost";) {
        result = await reader.pullHeads(PULL_MESSAGES, (head) => {
          scan.next = head.revision + 1;
          scan.isOver ||= !onMessage(head);
        });
        if (result === "lost") break;
        if (!(await onPull()) || result === "end" || scan.isOver) return;
      }
    } finally {
      await reader.close();
    }
    if (!requests.isReachable || performance.now() >= context.deadlineMs || context.signal.aborted)
      throw unavailable({ bucket: place.bucket });
    await delay(RETRY_MS);
  }
}

/**
 * Calls `onChunk` after each pull with its tombstones, if any, and the last sequence read, until it returns false. Throws `KvError`.
 */
export async function scanTombstones(
  requests: Requests,
  place: Place,
  subjectPrefix: string,
  range: TombstoneRange,
  messageBytesMax: number,
  context: CallContext,
  onChunk: (tombstones: readonly Tombstone[], upTo: number) => Promise<boolean>,
): Promise<void> {
  let upTo = range.from - 1;
  let found: Tombstone[] = [];
  const onMessage = ({ revision, operation, timeMs, storedKey }: MessageHead): boolean => {
    if (timeMs >= range.beforeMs) return false;
    upTo = revision;
    if (operation !== "put" && (operation !== "expire" || range.withMarkers))
      found.push({ subject: subjectPrefix + storedKey, sequence: revision, timeMs });
    return true;
  };
  const onPull = (): Promise<boolean> => {
    const chunk = found;
    found = [];
    return onChunk(chunk, upTo);
  };
  await scanMessages(requests, place, subjectPrefix, range.from, messageBytesMax, context, onMessage, onPull);
}

/**
 * Removes tombstones and the earlier revisions of their keys. Keeps a tombstone that is no longer the newest revision of its key, and later
 * revisions. Returns the number of removed tombstones. Idempotent.
 */
export async function removeTombstones(
  requests: Requests,
  reader: MessageReader,
  place: Place,
  hasHistory: boolean,
  tombstones: readonly Tombstone[],
  context: CallContext,
): Promise<number> {
  let removed = 0;
  const rest = [...tombstones];
  const work = async (): Promise<void> => {
    for (let next = rest.pop(); next !== undefined; next = rest.pop()) {
      // With a history of 1, every stored message is the newest.
      if (hasHistory && !(await isNewest(reader, place, next, context))) continue;
      const range = { filter: next.subject, seq: next.sequence + 1 };
      if ((await purgeStream(requests, place.stream, range, context)) > 0) removed++;
    }
  };
  try {
    await Promise.all(Array.from({ length: PURGES_AT_ONCE }, work));
  } catch (error) {
    throw toKvError(error, { bucket: place.bucket });
  }
  return removed;
}

async function isNewest(
  reader: MessageReader,
  place: Place,
  tombstone: Tombstone,
  context: CallContext,
): Promise<boolean> {
  const newest = await reader.newest(place, tombstone.subject, context);
  return newest?.sequence === BigInt(tombstone.sequence) && operationOf(newest.headers) !== "put";
}

interface ConsumerPage {
  readonly total: number;
  readonly consumers:
    | readonly {
        readonly config: { readonly description?: string };
        readonly num_pending: number;
        readonly delivered: { readonly stream_seq: number };
      }[]
    | null;
}

/**
 * The sequence up to which every consumer of the stream has received its messages. Includes consumers of other programs. Excludes our readers:
 * those of lists do not need tombstones, and those of watches check the compaction mark when they end.
 */
export async function deliveredTo(
  requests: Requests,
  { stream }: Place,
  context: CallContext,
): Promise<number> {
  let least = Infinity;
  for (let offset = 0; ;) {
    const page = await readJetStream<ConsumerPage>(requests, `CONSUMER.LIST.${stream}`, { offset }, context, {
      bytesMax: PAGE_BYTES_MAX,
    });
    const consumers = page.consumers ?? [];
    for (const { config, num_pending, delivered } of consumers)
      if (num_pending > 0 && config.description !== READER_DESCRIPTION)
        least = Math.min(least, delivered.stream_seq);
    offset += consumers.length;
    if (consumers.length === 0 || offset >= page.total) return least;
  }
}
