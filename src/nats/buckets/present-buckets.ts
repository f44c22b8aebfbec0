/** Which buckets there are, and whether there is room for another one. */
import { KvError } from "../../kv/errors.js";
import type { Limits } from "../../kv/limits.js";
import { bucketOfStream } from "../../kv/names.js";
import type { CallContext } from "../../kv/store.js";
import type { Requests } from "../client/requests.js";
import { CREATED_BY_KEY } from "../streams/stream-config.js";
import { streamPage, streamsOf } from "../streams/stream-pages.js";

export class PresentBuckets {
  constructor(
    private readonly requests: Requests,
    private readonly limits: Limits,
  ) {}

  /** The names of all buckets, sorted. */
  async names(context: CallContext): Promise<string[]> {
    const names = new Set<string>();
    for await (const stream of streamsOf(this.requests, "STREAM.NAMES", context)) {
      const bucket = bucketOfStream(stream);
      if (bucket !== undefined) names.add(bucket);
    }
    return [...names].sort();
  }

  /**
   * Throws `storage_exhausted` where there are as many buckets as may be, or as many of one maker, which is an API key's id. Two that create at
   * once may both take the last place: the limits are there against thousands.
   */
  async checkRoom(createdBy: string | undefined, context: CallContext): Promise<void> {
    const { bucketsMax, bucketsPerApiKeyMax } = this.limits;
    // With the streams of others, so that one request is enough while there is room.
    const { total } = await streamPage(this.requests, "STREAM.NAMES", 0, context);
    if (total >= bucketsMax) {
      const count = (await this.names(context)).length;
      if (count >= bucketsMax)
        throw new KvError(
          "storage_exhausted",
          `There are ${count} buckets; at most ${bucketsMax} are allowed. Delete one, or raise BUCKETS_MAX.`,
        );
    }
    if (createdBy === undefined || total < bucketsPerApiKeyMax) return;
    const own = await this.countOf(createdBy, context);
    if (own >= bucketsPerApiKeyMax)
      throw new KvError(
        "storage_exhausted",
        `This API key has made ${own} buckets that are still there; at most ${bucketsPerApiKeyMax} are allowed. Delete one, or raise BUCKETS_PER_API_KEY_MAX.`,
      );
  }

  private async countOf(createdBy: string, context: CallContext): Promise<number> {
    let count = 0;
    for await (const { config } of streamsOf(this.requests, "STREAM.LIST", context))
      if (config.metadata?.[CREATED_BY_KEY] === createdBy) count++;
    return count;
  }
}
