/** Finds tombstones and removes them from the storage. */
import { setTimeout as delay } from "node:timers/promises";
import { flowOf } from "../../kv/call-context.js";
import { subjectPrefix as subjectPrefixOf } from "../../kv/names.js";
import type { CallContext } from "../../kv/store.js";
import { toKvError, unavailable } from "../client/errors.js";
import { purgeStream, readJetStream } from "../client/jetstream-api.js";
import type { MessageReader, Place } from "../client/message-reader.js";
import { operationOf } from "../streams/records.js";
import type { Requests } from "../client/requests.js";
import { PAGE_BYTES_MAX } from "../streams/stream-pages.js";
import { scanStream } from "../index/stream-scan.js";
import { StreamApi } from "../read/stream-api.js";
import type { MessageHead } from "../read/message-head.js";
import { type PullResult, Reader, READER_DESCRIPTION } from "../read/stream-reader.js";

export interface Tombstone {
  readonly subject: string;
  readonly sequence: number;
  readonly timeMs: number;
}

/** Which part of a stream to look at. */
export interface TombstoneRange {
  readonly from: number;
  /** Only what was stored before this time, in milliseconds since 1970. */
  readonly beforeMs: number;
  /** Whether expiry markers count too, which the storage removes by itself. */
  readonly withMarkers: boolean;
}

const PULL_MESSAGES = 1_000;
const PULL_BYTES = 1_048_576;
/** A pull that hears nothing for this long is given up: every message matches, so the server need not search. */
const SILENCE_MS = 3_000;
const RETRY_MS = 20;
const PURGES_AT_ONCE = 16;

/** Calls `onMessage` with every message up to a sequence, as the stream's leader has them: a copy that lags behind is waited for. Throws `KvError`. */
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
 * Calls `onChunk` with the tombstones of each part of the stream, also where it has none, and how far it is. Ends where that returns
 * false. Throws `KvError`.
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
 * Removes each with what its key had before; those that are not the newest of their key any more stay, and so does what was written since.
 * Returns how many were removed. Doing it twice is harmless.
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
      // In a history of 1, what is stored is the newest.
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
 * Up to which sequence every consumer of the stream has been delivered what it is to get: of live watches, ours and other programs'. Readers
 * of lists do not need tombstones, and those of watches look at the mark when they are done.
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
