/**
 * Which subjects of a bucket have messages, and which of these are values: the newest message of each, without its value.
 *
 * The consumer that does it is ephemeral and deleted at once (a client's iterators leave theirs for minutes). It delivers in pulls, so
 * that a scan takes a small part of the connection's budget, and never the event loop for long.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { CallScope } from "../../kv/store.js";
import { toKvError } from "../client/errors.js";
import type { MessageReader, Place } from "../client/message-reader.js";
import type { Requests } from "../client/requests.js";
import { timeLeftMs, Unanswered } from "../client/unanswered.js";
import { StreamApi } from "./stream-api.js";
import type { Change } from "./delivery.js";
import { Reader, type ReadStart } from "./stream-reader.js";

/**
 * Every subject that has a message, in no order, and when its newest expires if that is a value: milliseconds since 1970 by the storage's
 * clock, Infinity for never; 0 for a tombstone.
 */
export type ScannedSubjects = Map<string, number>;

export interface ScanOptions {
  readonly requests: Requests;
  readonly reader: MessageReader;
  readonly storedMessageBytesMax: number;
}

/** Bytes and messages of one pull: some milliseconds' work. */
const PULL_BYTES = 262_144;
const PULL_MESSAGES = 1_024;
/** A pull that hears nothing for this long is given up. */
const SILENCE_MS = 3_000;
const RETRY_MS = 20;
/** How long until a copy of the stream that lags behind is read again. */
const LAG_RETRY_MS = 20;

/** What to scan. */
export interface ScanRange {
  /** A full subject, perhaps with wildcards. */
  readonly filter: string;
  /** The bucket's ttl in milliseconds; 0 for none. */
  readonly ageMsMax: number;
  /** Default: the newest of each subject. */
  readonly start?: ReadStart;
  /** Goes on until every message up to this sequence was read, by the stream's leader; undefined: as far as the copy that answers has them. */
  readonly upTo: number | undefined;
}

/**
 * Adds what it finds to `into`. A consumer that is lost, with its server or before the servers of a cluster know it, is replaced. Returns how many messages up to `upTo` it read. Throws `KvError`.
 */
export async function scanSubjects(
  options: ScanOptions,
  place: Place,
  range: ScanRange,
  into: ScannedSubjects,
  scope: CallScope,
): Promise<number> {
  for (;;) {
    const read = await scanOnce(options, place, range, into, scope);
    if (read !== undefined) return read;
    await delay(RETRY_MS);
  }
}

/** Undefined where the consumer was lost. */
async function scanOnce(
  { requests, storedMessageBytesMax }: ScanOptions,
  place: Place,
  { filter, ageMsMax, start = "newest_of_each", upTo }: ScanRange,
  into: ScannedSubjects,
  scope: CallScope,
): Promise<number | undefined> {
  const api = new StreamApi(requests, place.bucket, place.stream, storedMessageBytesMax);
  const reader = await Reader.open(api, "", filter, {
    ...{ start, bytesMax: PULL_BYTES, headersOnly: true, scope, silenceMs: SILENCE_MS },
  }).catch((error: unknown) => {
    throw endOf(scope) ?? error;
  });
  const stopListening = interruptAtEnd(reader, scope);
  let [read, brought, reached] = [0, 0, 0];
  const take = (change: Change): void => {
    into.set(change.storedKey, change.isTombstone ? 0 : change.expiresAtMs(ageMsMax));
    reached = change.revision;
    brought++;
    if (upTo === undefined || reached <= upTo) read++;
  };
  try {
    for (;;) {
      brought = 0;
      const result = await reader.pull(PULL_MESSAGES, take);
      if (result === "lost") {
        const ended =
          endOf(scope) ?? (requests.isConnected ? undefined : new Unanswered("disconnected", true));
        if (ended !== undefined) throw ended;
        void reader.close();
        return undefined;
      }
      // The first end may come too early: see Reader.mayStumble.
      if (result === "more" || brought > 0) continue;
      if (upTo === undefined || reached >= upTo) break;
      const next = await api.nextSequence(filter, reached + 1);
      if (next === undefined || next > upTo) break;
      await delay(LAG_RETRY_MS);
    }
    await reader.close();
    return read;
  } catch (error) {
    // The caller is not to wait for this, nor to keep it from happening.
    void reader.close();
    throw toKvError(error, { bucket: place.bucket });
  } finally {
    stopListening();
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
