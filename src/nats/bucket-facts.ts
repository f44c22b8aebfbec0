/** What puts need to know of a bucket, remembered for a moment. That a bucket does not exist is never remembered. */
import type { Place } from "./newest.js";
import { existing } from "./newest.js";
import type { Requests } from "./requests.js";
import { valueSizeOf } from "./stream-config.js";
import type { CallScope } from "../kv/store.js";

export interface BucketFacts {
  /** Bytes; 0 for no limit of the bucket's own. */
  readonly maxValueSize: number;
  /** A revision that was certainly written; later ones may be too. */
  newestSeen: number;
  readonly readAtMs: number;
}

/**
 * How long another copy of the service may take to notice a changed `max_value_size`. Little depends on it: the storage itself refuses
 * what is more than the headers' allowance over the limit, and nothing is refused here before the facts were read anew.
 */
const GOOD_FOR_MS = 1_000;
const BUCKETS_MAX = 10_000;

export class BucketFactsCache {
  private readonly byStream = new Map<string, BucketFacts>();

  constructor(private readonly requests: Requests) {}

  /** What is remembered; undefined when nothing is, or it is too old. */
  recent(stream: string): BucketFacts | undefined {
    const facts = this.byStream.get(stream);
    return facts !== undefined && performance.now() - facts.readAtMs < GOOD_FOR_MS ? facts : undefined;
  }

  /** Reads the facts anew. Throws `bucket_not_found`. */
  async read(place: Place, scope: CallScope): Promise<BucketFacts> {
    const readAtMs = performance.now();
    const info = await existing(this.requests, place, scope);
    const facts = { maxValueSize: valueSizeOf(info.config), newestSeen: info.state.last_seq, readAtMs };
    if (this.byStream.size >= BUCKETS_MAX) this.byStream.clear();
    this.byStream.set(place.stream, facts);
    return facts;
  }

  forget(stream: string): void {
    this.byStream.delete(stream);
  }
}
