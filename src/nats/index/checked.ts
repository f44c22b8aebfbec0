/** What an index is compared with. */
import { serverTimeMs, type StreamInfo } from "../client/jetstream-api.js";
import type { StreamState } from "../read/stream-api.js";
import { compactedTo } from "../streams/stream-config.js";

const NANOS_PER_MS = 1_000_000;

/** What the stream's leader says of it. */
export type Checked = Pick<
  StreamState,
  "created" | "subjects" | "lastSequence" | "ageMsMax" | "compactedTo" | "nowMs"
>;

export function checkedOf(info: StreamInfo): Checked {
  const { created, config, state } = info;
  return {
    created,
    subjects: state.num_subjects ?? 0,
    lastSequence: state.last_seq,
    ageMsMax: (config.max_age ?? 0) / NANOS_PER_MS,
    compactedTo: compactedTo(config),
    nowMs: serverTimeMs(info),
  };
}
