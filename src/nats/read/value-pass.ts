/**
 * Reads many values in a pass over the part of the stream that has them, with a consumer.
 *
 * A consumer's messages leave nats-server as they are stored. To each message of a direct get it adds six headers, one by one, if the message
 * has headers already, as all messages of a batch have: five times the work for each (`genHeader` in getDirectMulti, stream.go of 2.15.1).
 *
 * A consumer needs the stream's leader, which direct gets do not: if it does not answer within a second, direct gets read the stream for ten.
 */
import { type CallContext, isCanceled } from "../../kv/call-context.js";
import type { Frame } from "../client/frames.js";
import { within } from "../client/jetstream-api.js";
import type { Delivery } from "./delivery.js";
import type { FoundValues } from "./found-values.js";
import { interruptAtEnd } from "./interrupt-at-end.js";
import type { StreamApi } from "./stream-api.js";
import { Reader } from "./stream-reader.js";

/** Of fewer values, creating the consumers is too much of the work. */
export const PASS_VALUES_MIN = 1_024;
/**
 * Work for a message of a pass and of a direct get beside its value, as bytes of values that are as much work. Measured with values of 128 B, for the
 * service and nats-server together: 3.8 microseconds of CPU time for each message of a pass, and 17 for a value more by a direct get than in a pass.
 */
const PASS_MESSAGE_BYTES = 8_192;
const DIRECT_MESSAGE_BYTES = 32_768;
/** Bytes and messages of one pull: some milliseconds' work. */
const PULL_BYTES = 524_288;
const PULL_MESSAGES = 2_048;
/** A pull that hears nothing for this long is given up. */
const SILENCE_MS = 3_000;
/** How long the stream's leader may take on a cluster until a pass begins. */
const BEGIN_MS_MAX = 1_000;
/** After it took longer, direct gets read the stream's values for this long. */
const WITHOUT_LEADER_MS = 10_000;

export interface PassSource {
  readonly api: StreamApi;
  readonly subjectPrefix: string;
}

export class ValuePasses {
  /** By stream: until when no pass is tried. */
  private readonly withoutLeaderUntilMs = new Map<string, number>();

  constructor(private readonly isClustered: boolean) {}

  /** Finds wanted values in passes, if these cost less than direct gets. May leave any to direct gets. Never throws. */
  async read(source: PassSource, found: FoundValues, context: CallContext): Promise<void> {
    const { api } = source;
    const { stream } = api;
    if (performance.now() < (this.withoutLeaderUntilMs.get(stream) ?? 0)) return;
    this.withoutLeaderUntilMs.delete(stream);
    const beginning = this.isClustered ? within(context, BEGIN_MS_MAX) : context;
    const countMessages = async (): Promise<number> => (await api.state(beginning)).messages;
    const hasBegun = await isDense(found, countMessages).then(
      (isWorthwhile) => !isWorthwhile || readInPasses(source, found, context, beginning),
      () => false,
    );
    const isLeaderless = !hasBegun && this.isClustered && !hasEnded(context);
    if (isLeaderless) this.withoutLeaderUntilMs.set(stream, performance.now() + WITHOUT_LEADER_MS);
  }
}

function hasEnded(context: CallContext): boolean {
  return isCanceled(context) || performance.now() >= context.deadlineMs;
}

/** Whether a pass over at least `PASS_VALUES_MIN` values costs less than direct gets. `countMessages`: the messages of the stream. */
async function isDense(
  { wanted, revisions }: FoundValues,
  countMessages: () => Promise<number>,
): Promise<boolean> {
  const [first = 0] = revisions;
  const last = revisions.at(-1) ?? 0;
  let bytes = 0;
  for (const { valueBytes } of wanted) bytes += valueBytes;
  const bytesEach = bytes / wanted.length;
  const perValue = (DIRECT_MESSAGE_BYTES + bytesEach) / (PASS_MESSAGE_BYTES + bytesEach);
  const messagesMax = perValue * wanted.length;
  // Where later writes replaced many, few of the range's sequences are stored.
  return last - first < messagesMax || (await countMessages()) <= messagesMax;
}

/**
 * Two passes at once each read a half: nats-server prepares the one while the other is handled. A pass ends early where its consumer is lost.
 * Returns false if no consumer was created while the context `beginning` lasts. Never throws.
 */
async function readInPasses(
  { api, subjectPrefix }: PassSource,
  found: FoundValues,
  context: CallContext,
  beginning: CallContext,
): Promise<boolean> {
  const { revisions } = found;
  const onFrame = (frame: Frame, delivery: Delivery): void => found.acceptFrame(frame, delivery);
  const pass = async (half: Float64Array): Promise<boolean> => {
    const start = { sequence: half[0] as number };
    const options = {
      start,
      bytesMax: PULL_BYTES,
      asFrames: true,
      context: beginning,
      silenceMs: SILENCE_MS,
    };
    const reader = await Reader.open(api, subjectPrefix, ">", options).catch(() => undefined);
    if (reader === undefined) return false;
    await readThrough(reader, half, onFrame, context);
    return true;
  };
  const middle = revisions.length >> 1;
  const [first, second] = await Promise.all([
    pass(revisions.subarray(0, middle)),
    pass(revisions.subarray(middle)),
  ]);
  return first || second;
}

/** Reads up to the last of the revisions. */
async function readThrough(
  reader: Reader,
  revisions: Float64Array,
  onFrame: (frame: Frame, delivery: Delivery) => void,
  context: CallContext,
): Promise<void> {
  const last = revisions.at(-1) as number;
  const stopListening = interruptAtEnd(reader, context);
  try {
    for (let reached = (revisions[0] as number) - 1; reached < last;) {
      const result = await reader.pullFrames(Math.min(PULL_MESSAGES, last - reached), (frame, delivery) => {
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
