/**
 * A stream created within milliseconds after the deletion of one with the same name may contain the last messages of its predecessor (seen
 * with nats-server 2.15.1 in 7 of 1,500 recreations). Their time is before the creation of the stream.
 */
import type { KvErrorDetails } from "../../kv/errors.js";
import type { CallContext } from "../../kv/call-context.js";
import { toKvError } from "../client/errors.js";
import { askJetStream, purgeStream, type StreamConfig, type StreamInfo } from "../client/jetstream-api.js";
import type { Requests } from "../client/requests.js";
import { parseTimestamp } from "../client/timestamps.js";

/** The answer to STREAM.CREATE. */
interface CreatedStream extends StreamInfo {
  /** Whether this request created the stream: then all of its messages are the predecessor's. */
  readonly did_create?: boolean;
}

/**
 * Recreates a stream that has messages of its predecessor: a purge would leave their ids in its memory of ids, and a write with the same
 * idempotency key would be answered as applied. `config`: what it was created with. Returns the stream as it is then. Throws `KvError`.
 */
export async function withoutPredecessor(
  requests: Requests,
  config: StreamConfig,
  created: CreatedStream,
  about: KvErrorDetails,
  context: CallContext,
): Promise<StreamInfo> {
  const { name } = config;
  try {
    let stream = created;
    // No client can have written before this request created the stream: what the answer shows is of the predecessor.
    while (stream.did_create === true && isOlderThanStream(stream)) {
      // What is purged is not left to the next one.
      await purgeStream(requests, name, {}, context);
      await askJetStream(requests, `STREAM.DELETE.${name}`, undefined, context);
      stream = await askJetStream<CreatedStream>(requests, `STREAM.CREATE.${name}`, config, context);
    }
    return stream;
  } catch (error) {
    throw toKvError(error, about);
  }
}

function isOlderThanStream({ state, created }: StreamInfo): boolean {
  if (state.messages === 0 || state.first_ts === undefined) return false;
  const [first, stream] = [parseTimestamp(state.first_ts), parseTimestamp(created)];
  return first.ms < stream.ms || (first.ms === stream.ms && first.nanos < stream.nanos);
}
