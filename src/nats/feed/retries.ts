/** Attempts to bring a feed up to date, until one succeeds. */
import { KvError } from "../../kv/errors.js";
import type { FeedEnd } from "./bucket-feed.js";

/** `again`: more arrived than could be kept, or a gap is left. `outdated`: another recovery has begun. */
export type Attempt = FeedEnd | "live" | "again" | "outdated";

export interface Retries {
  /** Throws where the storage does not answer. */
  readonly attempt: () => Promise<Attempt>;
  readonly isCurrent: () => boolean;
  readonly pause: (timeMs: number) => Promise<void>;
  readonly onError: (error: unknown) => void;
}

const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 500;
/** A bucket is only taken for gone when the storage says so twice, this far apart: a server that has just started may not know better. */
const GONE_CHECK_MS = 200;

/** Resolves when the feed is live, or another recovery has begun; with how the feed ends, where it does. */
export async function retryUntilLive(retries: Retries): Promise<FeedEnd | undefined> {
  let goneAnswers = 0;
  for (let retryMs = RETRY_MS_MIN; retries.isCurrent(); retryMs = Math.min(2 * retryMs, RETRY_MS_MAX)) {
    try {
      let result: Attempt = "again";
      while (result === "again" && retries.isCurrent()) result = await retries.attempt();
      return typeof result === "object" ? result : undefined;
    } catch (error) {
      if (!retries.isCurrent()) return undefined;
      if (error instanceof KvError && error.kind === "bucket_not_found") {
        if (++goneAnswers === 2) return { kind: "deleted" };
        retryMs = GONE_CHECK_MS;
      } else goneAnswers = 0;
      // Revisions above 2^53: trying again does not help.
      if (error instanceof KvError && error.kind === "unimplemented") return { kind: "failed", error };
      retries.onError(error);
    }
    await retries.pause(retryMs);
  }
  return undefined;
}
