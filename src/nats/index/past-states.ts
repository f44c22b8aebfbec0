/** What keys that have changed since had at an earlier revision of their bucket, as far as their history proves it. */
import { KvError } from "../../kv/errors.js";
import { quote } from "../../kv/names.js";
import type { CallContext } from "../../kv/call-context.js";
import type { Entry } from "../../kv/entry.js";
import { bucketNotFound } from "../client/errors.js";
import type { Place } from "../client/message-reader.js";
import type { Requests } from "../client/requests.js";
import { missedUpTo } from "../feed/resume-rule.js";
import type { History } from "../read/history.js";
import { StreamApi } from "../read/stream-api.js";

/** A revision of a bucket. */
export interface PastRevision {
  readonly revision: number;
  /** When the bucket was created, as the server wrote it. */
  readonly created: string;
}

export class PastStates {
  constructor(
    private readonly history: History,
    private readonly requests: Requests,
    private readonly storedMessageBytesMax: number,
  ) {}

  /** The newest entry of a key at the revision, which needs the memory of a page; undefined: it had no value. Throws `revision_compacted` where that can't be proved. */
  async of(place: Place, key: string, past: PastRevision, context: CallContext): Promise<Entry | undefined> {
    const { entry, hasLater } = await this.newestUpTo(place.bucket, key, past.revision, context);
    const api = new StreamApi(this.requests, place.bucket, place.stream, this.storedMessageBytesMax);
    const state = await api.state();
    // What was read may be of another bucket.
    if (state.created !== past.created) throw bucketNotFound(place.bucket);
    if (entry !== undefined) return entry.operation === "put" ? entry : undefined;
    // Revisions are removed oldest first. What is kept is newer, so an older one may be gone.
    const mayBeGone = hasLater || (await missedUpTo(api, state, past.revision + 1, undefined)) !== undefined;
    if (mayBeGone) throw compacted(place.bucket, key, past.revision);
    return undefined;
  }

  /** `hasLater`: whether a later entry is kept. */
  private async newestUpTo(
    bucket: string,
    key: string,
    revision: number,
    context: CallContext,
  ): Promise<{ entry: Entry | undefined; hasLater: boolean }> {
    let entry: Entry | undefined;
    try {
      for (let pageToken = ""; ;) {
        const request = { limit: PAGE_ENTRIES, pageToken };
        const page = await this.history.page(bucket, key, request, context, "strong", true);
        for (const item of page.items) {
          if (item.revision > BigInt(revision)) return { entry, hasLater: true };
          entry = item;
        }
        pageToken = page.nextPageToken;
        if (pageToken === "") return { entry, hasLater: false };
      }
    } catch (error) {
      if (error instanceof KvError && error.kind === "key_not_found") return { entry, hasLater: false };
      throw error;
    }
  }
}

const PAGE_ENTRIES = 64;

/** The error for a key whose state at a revision can't be proved any more. */
export function compacted(bucket: string, key: string, revision: number): KvError {
  return new KvError(
    "revision_compacted",
    `The key ${quote(key)} has changed since the revision ${revision}, and what it had then is no longer kept. Read the newest revision, or raise the bucket's history.`,
    { bucket, key },
  );
}
