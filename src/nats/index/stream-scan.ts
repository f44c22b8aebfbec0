/**
 * Reads what a stream holds up to a sequence, without values.
 *
 * The consumer that does it is ephemeral and deleted at once. It delivers in pulls, so that a scan takes a small part of the connection's
 * budget, and never the event loop for long.
 */
import { setTimeout as delay } from "node:timers/promises";
import { type CallContext, endReason } from "../../kv/call-context.js";
import type { Place } from "../client/message-reader.js";
import type { Requests } from "../client/requests.js";
import { NoReplyError } from "../client/no-reply.js";
import { interruptAtEnd } from "../read/interrupt-at-end.js";
import type { MessageHead } from "../read/message-head.js";
import { StreamApi } from "../read/stream-api.js";
import type { ReadStart } from "../read/consumer-config.js";
import { Reader } from "../read/stream-reader.js";

export interface ScanOptions {
  readonly requests: Requests;
  readonly storedMessageBytesMax: number;
}

/** What to scan. */
export interface ScanRange {
  readonly subjectPrefix: string;
  readonly start: ReadStart;
  /** Every message up to this sequence is read, as the stream's leader has them. */
  readonly upTo: number;
  /** Whose read it is: see `ReaderOptions`. */
  readonly flow: unknown;
}

/** Bytes and messages of one pull: some milliseconds' work. */
const PULL_BYTES = 524_288;
const PULL_MESSAGES = 2_048;
/** A pull that hears nothing for this long is given up. */
const SILENCE_MS = 3_000;
const RETRY_MS = 20;
/** How long until a copy of the stream that lags behind is read again. */
const LAG_RETRY_MS = 20;

/** Where there are at least this many sequences, two halves are read at once: nats-server prepares the one while the other is handled. */
const PARTS_FROM = 16_384;

/** Like {@link scanStream}, but in no certain order. */
export async function scanInParts(
  options: ScanOptions,
  place: Place,
  range: ScanRange,
  accept: (head: MessageHead) => void,
  context: CallContext,
): Promise<void> {
  const { start, upTo } = range;
  if (start === "newest_of_each" || upTo - start.sequence < PARTS_FROM) {
    await scanStream(options, place, range, accept, context);
    return;
  }
  const middle = Math.floor((start.sequence + upTo) / 2);
  const failure = new AbortController();
  const shared = { ...context, signal: AbortSignal.any([context.signal, failure.signal]) };
  const halves = [
    { ...range, upTo: middle },
    { ...range, start: { sequence: middle + 1 } },
  ];
  try {
    await Promise.all(halves.map((half) => scanStream(options, place, half, accept, shared)));
  } catch (error) {
    failure.abort();
    throw error;
  }
}

/**
 * Calls `accept` with the messages in their order, also with some beyond `upTo`. A consumer that is lost, with its server or before the
 * servers of a cluster know it, is replaced; the newest of each key are then read again from the start. Throws `KvError` or `NoReplyError`.
 */
export async function scanStream(
  options: ScanOptions,
  place: Place,
  range: ScanRange,
  accept: (head: MessageHead) => void,
  context: CallContext,
): Promise<void> {
  let { start } = range;
  let reached = 0;
  while (reached < range.upTo) {
    const isDone = await scanOnce(
      options,
      place,
      { ...range, start },
      (head) => {
        reached = head.revision;
        accept(head);
      },
      context,
    );
    if (isDone) return;
    if (start !== "newest_of_each") start = { sequence: Math.max(start.sequence, reached + 1) };
    await delay(RETRY_MS);
  }
}

/** False where the consumer was lost. */
async function scanOnce(
  { requests, storedMessageBytesMax }: ScanOptions,
  place: Place,
  { subjectPrefix, start, upTo, flow }: ScanRange,
  accept: (head: MessageHead) => void,
  context: CallContext,
): Promise<boolean> {
  const api = new StreamApi(requests, place.bucket, place.stream, storedMessageBytesMax);
  const reader = await Reader.open(api, subjectPrefix, ">", {
    ...{ start, bytesMax: PULL_BYTES, headersOnly: true, context, silenceMs: SILENCE_MS, flow },
  }).catch((error: unknown) => {
    throw endOf(context) ?? error;
  });
  const stopListening = interruptAtEnd(reader, context);
  let [reached, received] = [0, 0];
  try {
    for (;;) {
      received = 0;
      const result = await reader.pullHeads(PULL_MESSAGES, (head) => {
        reached = head.revision;
        received++;
        accept(head);
      });
      if (result === "lost") {
        const ended =
          endOf(context) ?? (requests.isReachable ? undefined : new NoReplyError("disconnected", true));
        if (ended !== undefined) throw ended;
        return false;
      }
      // The first end may come too early: see Reader.mayStumble.
      const isPast = start !== "newest_of_each" && reached >= upTo;
      if (!isPast && (result === "more" || received > 0)) continue;
      if (reached >= upTo) return true;
      const next = await api.nextSequence(`${subjectPrefix}>`, reached + 1);
      if (next === undefined || next > upTo) return true;
      await delay(LAG_RETRY_MS);
    }
  } finally {
    stopListening();
    void reader.close();
  }
}

/** Why the context ended; undefined where it did not. */
function endOf(context: CallContext): NoReplyError | undefined {
  if (context.signal.aborted) return new NoReplyError(endReason(context), true);
  return performance.now() >= context.deadlineMs ? new NoReplyError("deadline", true) : undefined;
}
