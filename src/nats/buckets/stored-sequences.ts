/** Which sequences a stream stores, as its leader has them. */
import type { CallContext } from "../../kv/call-context.js";
import { toKvError } from "../client/errors.js";
import {
  askJetStream,
  serverTimeMs,
  SLOW_ANSWER_GROWTH,
  type StreamInfo,
  untilAnswered,
} from "../client/jetstream-api.js";
import { existing, type Place } from "../client/message-reader.js";
import type { Requests } from "../client/requests.js";
import { RunBuilder, type Runs, runsWithout } from "./sequence-runs.js";
import { scanUpTo } from "./tombstones.js";

export interface StoredSequences {
  readonly runs: Runs;
  /** The stream's last sequence: all later ones are new. */
  readonly upTo: number;
  /** By the storage's clock, in milliseconds since 1970. */
  readonly timeMs: number;
}

interface Details extends StreamInfo {
  readonly state: StreamInfo["state"] & { readonly deleted?: readonly number[] | null };
}

/** Deleted sequences that are asked for at once: some 20 ms of parsing JSON. */
const DELETED_MAX = 200_000;
/** A message of a scan costs as much as so many sequences of the list of deleted ones. */
const SCAN_FACTOR = 16;
/** Sequences deleted since the request was sized, and the configuration. */
const SPARE_BYTES = 65_536;

/**
 * From the list of deleted sequences, which takes one request, or by reading all headers where that list is long. Throws `KvError`.
 */
export async function storedSequences(
  requests: Requests,
  place: Place,
  messageBytesMax: number,
  context: CallContext,
): Promise<StoredSequences> {
  const info = await existing(requests, place, context);
  const { first_seq, last_seq, messages } = info.state;
  const deleted = last_seq - first_seq + 1 - messages;
  if (deleted <= Math.min(DELETED_MAX, messages * SCAN_FACTOR))
    return fromDetails(requests, place, deleted * (String(last_seq).length + 1), context);
  const builder = new RunBuilder();
  await scanUpTo(requests, place, last_seq, messageBytesMax, context, ({ revision }) =>
    builder.add(revision),
  );
  return { runs: builder.runs, upTo: last_seq, timeMs: serverTimeMs(info) };
}

async function fromDetails(
  requests: Requests,
  { bucket, stream }: Place,
  listBytes: number,
  context: CallContext,
): Promise<StoredSequences> {
  const expected = { bytesMax: listBytes + SPARE_BYTES };
  const ask = (shorter: CallContext): Promise<Details> =>
    askJetStream(requests, `STREAM.INFO.${stream}`, { deleted_details: true }, shorter, expected);
  try {
    const info = await untilAnswered(context, ask, SLOW_ANSWER_GROWTH);
    const { first_seq, last_seq, deleted } = info.state;
    return {
      runs: runsWithout(first_seq, last_seq, deleted ?? []),
      upTo: last_seq,
      timeMs: serverTimeMs(info),
    };
  } catch (error) {
    throw toKvError(error, { bucket });
  }
}
