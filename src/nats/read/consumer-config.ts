/** The short-lived pull consumer of one read. */

/** What to read: the newest message of each key, or every message from a sequence on. */
export type ReadStart = "newest_of_each" | { readonly sequence: number };

/** Tells these consumers from those of live watches: see compaction.ts. */
export const READER_DESCRIPTION = "what one call or watch through ironflow-kv reads";

const EVERYTHING = ">";
/** The server gives the consumer up when nothing was asked for this long. */
const IDLE_MS_MAX = 10_000;

/**
 * `subject`: a NATS filter without the bucket's prefix. A read of everything as frames has no filter: nats-server finds the next message
 * faster, and what a stream may have beside the bucket's subjects costs little.
 */
export function consumerConfig(
  start: ReadStart,
  subjectPrefix: string,
  subject: string,
  { headersOnly, asFrames }: { readonly headersOnly: boolean; readonly asFrames: boolean },
): object {
  const isUnfiltered = asFrames && subject === EVERYTHING && start !== "newest_of_each";
  return {
    description: READER_DESCRIPTION,
    ...(start === "newest_of_each"
      ? { deliver_policy: "last_per_subject" }
      : { deliver_policy: "by_start_sequence", opt_start_seq: start.sequence }),
    ...(isUnfiltered ? {} : { filter_subject: subjectPrefix + subject }),
    headers_only: headersOnly,
    ack_policy: "none",
    replay_policy: "instant",
    inactive_threshold: IDLE_MS_MAX * 1e6,
    mem_storage: true,
    num_replicas: 1,
  };
}
