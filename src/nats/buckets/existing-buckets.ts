/** Lists the names of buckets and enforces the limits on their number. */
import { KvError } from "../../kv/errors.js";
import type { Limits } from "../../kv/limits.js";
import { bucketOfStream } from "../../kv/names.js";
import type { CallContext } from "../../kv/call-context.js";
import type { Requests } from "../client/requests.js";
import { CREATED_BY_KEY } from "../streams/stream-config.js";
import { streamPage, streamsOf } from "../streams/stream-pages.js";

export class ExistingBuckets {
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
   * Throws `storage_exhausted` if the limit of buckets is reached, in total or for `createdBy`, the ID of an API key. Concurrent creates may
   * exceed the limits slightly: these protect against thousands of buckets.
   */
  async checkLimits(createdBy: string | undefined, context: CallContext): Promise<void> {
    const { bucketsMax, bucketsPerApiKeyMax } = this.limits;
    // Counts streams of other programs too: one request suffices while the total is below the limit.
    const { total } = await streamPage(this.requests, "STREAM.NAMES", 0, context);
    if (total >= bucketsMax) {
      const count = (await this.names(context)).length;
      if (count >= bucketsMax)
        throw new KvError(
          "storage_exhausted",
          `There are ${count} buckets, the maximum is ${bucketsMax}. Delete one, or increase BUCKETS_MAX.`,
        );
    }
    if (createdBy === undefined || total < bucketsPerApiKeyMax) return;
    const own = await this.countOf(createdBy, context);
    if (own >= bucketsPerApiKeyMax)
      throw new KvError(
        "storage_exhausted",
        `This API key has created ${own} buckets that still exist, the maximum is ${bucketsPerApiKeyMax}. Delete one, or increase BUCKETS_PER_API_KEY_MAX.`,
      );
  }

  private async countOf(createdBy: string, context: CallContext): Promise<number> {
    let count = 0;
    for await (const { config } of streamsOf(this.requests, "STREAM.LIST", context))
      if (config.metadata?.[CREATED_BY_KEY] === createdBy) count++;
    return count;
  }
}
