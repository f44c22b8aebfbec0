/**
 * Reads many values in a pass over the part of the stream that has them, with a consumer.
 *
 * A consumer's messages leave nats-server as they are stored. To each message of a direct get it adds six headers, one by one, if the message
 * has headers already, as all messages of a batch have: five times the work for each (`genHeader` in getDirectMulti, stream.go of 2.15.1).
 */
import type { CallContext } from "../../kv/call-context.js";
import type { Entry } from "../../kv/entry.js";
import type { Frame } from "../client/frames.js";
import { HeaderBlock, NO_HEADERS } from "../client/messages.js";
import { entryOfKey } from "../streams/records.js";
import type { Delivery } from "./delivery.js";
import { interruptAtEnd } from "./interrupt-at-end.js";
import type { StreamApi } from "./stream-api.js";
import { Reader } from "./stream-reader.js";
import type { WantedValue } from "./value-reader.js";

/** Of fewer values, creating the consumers is too much of the work. */
export const PASS_VALUES_MIN = 1_024;
/** Work for a message of a pass and of a direct get beside its value, as bytes of values that are as much work. */
const PASS_MESSAGE_BYTES = 8_192;
const DIRECT_MESSAGE_BYTES = 16_384;
/** Bytes and messages of one pull: some milliseconds' work. */
const PULL_BYTES = 524_288;
const PULL_MESSAGES = 2_048;
/** A pull that hears nothing for this long is given up. */
const SILENCE_MS = 3_000;

/** Whether a pass over at least `PASS_VALUES_MIN` values costs less than direct gets. `countMessages`: the messages of the stream. */
export async function isDense(
  wanted: readonly WantedValue[],
  countMessages: () => Promise<number>,
): Promise<boolean> {
  let [first, last, bytes] = [Infinity, 0, 0];
  for (const { revision, valueBytes } of wanted) {
    if (revision < first) first = revision;
    if (revision > last) last = revision;
    bytes += valueBytes;
  }
  const bytesEach = bytes / wanted.length;
  const perValue = (DIRECT_MESSAGE_BYTES + bytesEach) / (PASS_MESSAGE_BYTES + bytesEach);
  const messagesMax = perValue * wanted.length;
  // Where later writes replaced many, few of the range's sequences are stored.
  return last - first < messagesMax || (await countMessages()) <= messagesMax;
}

/**
 * Calls `accept` with the values that are stored and their entries. Two passes at once each read a half: nats-server prepares the one while the
 * other is handled. Ends early, and never throws, where a consumer can't be created or is lost.
 */
export async function readInPasses(
  api: StreamApi,
  subjectPrefix: string,
  wanted: readonly WantedValue[],
  accept: (value: WantedValue, entry: Entry) => void,
  context: CallContext,
): Promise<void> {
  const byRevision = new Map(wanted.map((value) => [value.revision, value]));
  const revisions = Float64Array.from(wanted, ({ revision }) => revision).sort();
  const middle = revisions.length >> 1;
  const halves = [revisions.subarray(0, middle), revisions.subarray(middle)];
  const onFrame = (frame: Frame, delivery: Delivery): void => {
    const value = byRevision.get(delivery.streamSequence);
    if (value?.timeMs === delivery.timeMs) accept(value, entryOfFrame(value.key, frame, delivery));
  };
  await Promise.all(
    halves.map((half) =>
      pass(api, subjectPrefix, half[0] as number, half.at(-1) as number, onFrame, context).catch(
        () => undefined,
      ),
    ),
  );
}

async function pass(
  api: StreamApi,
  subjectPrefix: string,
  from: number,
  upTo: number,
  onFrame: (frame: Frame, delivery: Delivery) => void,
  context: CallContext,
): Promise<void> {
  const start = { sequence: from };
  const options = { start, bytesMax: PULL_BYTES, asFrames: true, context, silenceMs: SILENCE_MS };
  const reader = await Reader.open(api, subjectPrefix, ">", options);
  const stopListening = interruptAtEnd(reader, context);
  try {
    let reached = from - 1;
    while (reached < upTo) {
      const result = await reader.pullFrames(Math.min(PULL_MESSAGES, upTo - reached), (frame, delivery) => {
        reached = delivery.streamSequence;
        onFrame(frame, delivery);
      });
      if (result !== "more") return;
    }
  } finally {
    stopListening();
    void reader.close();
  }
}

function entryOfFrame(key: string, frame: Frame, delivery: Delivery): Entry {
  const { bytes, headerBytes, payloadStart, payloadEnd } = frame;
  const payload = Buffer.from(bytes.buffer, bytes.byteOffset + payloadStart, payloadEnd - payloadStart);
  return entryOfKey(key, {
    // A copy: the bytes are a part of what the socket received.
    data: Buffer.from(payload.subarray(headerBytes)),
    headers: headerBytes === 0 ? NO_HEADERS : new HeaderBlock(payload.toString("latin1", 0, headerBytes)),
    revision: BigInt(delivery.streamSequence),
    timeMs: delivery.timeMs,
    timeNanos: delivery.timeNanos,
  });
}
