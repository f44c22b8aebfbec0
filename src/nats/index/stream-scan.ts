/**
 * Reads what a stream holds up to a sequence, without values.
 *
 * The consumer that does it is ephemeral and deleted at once. It delivers in pulls, so that a scan takes a small part of the connection's
 * budget, and never the event loop for long.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { CallScope } from "../../kv/store.js";
import type { Place } from "../client/message-reader.js";
import type { Requests } from "../client/requests.js";
import { timeLeftMs, Unanswered } from "../client/unanswered.js";
import type { Change } from "../read/delivery.js";
import { StreamApi } from "../read/stream-api.js";
import { Reader, type ReadStart } from "../read/stream-reader.js";

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
const PULL_BYTES = 262_144;
const PULL_MESSAGES = 1_024;
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
  accept: (change: Change) => void,
  scope: CallScope,
): Promise<void> {
  const { start, upTo } = range;
  if (start === "newest_of_each" || upTo - start.sequence < PARTS_FROM) {
    await scanStream(options, place, range, accept, scope);
    return;
  }
  const middle = Math.floor((start.sequence + upTo) / 2);
  const failure = new AbortController();
  const shared = { ...scope, signal: AbortSignal.any([scope.signal, failure.signal]) };
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
 * servers of a cluster know it, is replaced; the newest of each key are then read again from the start. Throws `KvError` or `Unanswered`.
 */
export async function scanStream(
  options: ScanOptions,
  place: Place,
  range: ScanRange,
  accept: (change: Change) => void,
  scope: CallScope,
): Promise<void> {
  let { start } = range;
  let reached = 0;
  while (reached < range.upTo) {
    const isDone = await scanOnce(
      options,
      place,
      { ...range, start },
      (change) => {
        reached = change.revision;
        accept(change);
      },
      scope,
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
  accept: (change: Change) => void,
  scope: CallScope,
): Promise<boolean> {
  const api = new StreamApi(requests, place.bucket, place.stream, storedMessageBytesMax);
  const reader = await Reader.open(api, subjectPrefix, ">", {
    ...{ start, bytesMax: PULL_BYTES, headersOnly: true, scope, silenceMs: SILENCE_MS, flow },
  }).catch((error: unknown) => {
    throw endOf(scope) ?? error;
  });
  const stopListening = interruptAtEnd(reader, scope);
  let [reached, received] = [0, 0];
  try {
    for (;;) {
      received = 0;
      const result = await reader.pull(PULL_MESSAGES, (change) => {
        reached = change.revision;
        received++;
        accept(change);
      });
      if (result === "lost") {
        const ended =
          endOf(scope) ?? (requests.isConnected ? undefined : new Unanswered("disconnected", true));
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

/** Why the scope ended; undefined where it did not. */
function endOf(scope: CallScope): Unanswered | undefined {
  if (scope.signal.aborted) return new Unanswered("canceled", true);
  return performance.now() >= scope.deadlineMs ? new Unanswered("deadline", true) : undefined;
}

/** Ends a pull that is under way with the scope. Returns what stops that. */
function interruptAtEnd(reader: Reader, scope: CallScope): () => void {
  const interrupt = (): void => reader.interrupt();
  const timer = setTimeout(interrupt, timeLeftMs(scope));
  scope.signal.addEventListener("abort", interrupt);
  return () => {
    clearTimeout(timer);
    scope.signal.removeEventListener("abort", interrupt);
  };
}
