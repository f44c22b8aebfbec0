/**
 * A stream that is created within milliseconds of the deletion of one with its name may hold that one's last messages (seen with nats-server
 * 2.15.1 in 7 of 1,500 recreations): their time is before the stream's own creation.
 */
import type { KvErrorFacts } from "../../kv/errors.js";
import type { CallScope } from "../../kv/store.js";
import { toKvError } from "../client/errors.js";
import { askJetStream, type StreamInfo, streamInfo } from "../client/jetstream-api.js";
import type { Requests } from "../client/requests.js";
import { parseTimestamp } from "../client/timestamps.js";

/** The answer to STREAM.CREATE. */
interface CreatedStream extends StreamInfo {
  /** Whether this request created it: then all that it holds is older. */
  readonly did_create?: boolean;
}

/** Purges what a stream has of its predecessor. Returns the stream as it is then. Throws `KvError`. */
export async function withoutPredecessor(
  requests: Requests,
  created: CreatedStream,
  about: KvErrorFacts,
  scope: CallScope,
): Promise<StreamInfo> {
  let info: StreamInfo = created;
  try {
    while (isOlderThanStream(info)) {
      const upTo = created.did_create === true ? created.state.last_seq : info.state.first_seq;
      await askJetStream(requests, `STREAM.PURGE.${info.config.name}`, { seq: upTo + 1 }, scope);
      info = await streamInfo(requests, info.config.name, scope);
    }
    return info;
  } catch (error) {
    throw toKvError(error, about);
  }
}

function isOlderThanStream({ state, created }: StreamInfo): boolean {
  if (state.messages === 0 || state.first_ts === undefined) return false;
  const [first, stream] = [parseTimestamp(state.first_ts), parseTimestamp(created)];
  return first.ms < stream.ms || (first.ms === stream.ms && first.nanos < stream.nanos);
}
