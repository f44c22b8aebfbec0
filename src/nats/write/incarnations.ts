/**
 * Tells a bucket from an earlier one of the same name, which may have had the same keys at the same revisions: by the time of its creation.
 *
 * The storage has no condition on that time. A write that names it is therefore sent between two looks: where both show the bucket that it
 * names, the write went there, as no creation time comes back.
 */
import { KvError, withDetails } from "../../kv/errors.js";
import type { CallContext } from "../../kv/call-context.js";
import type { BucketConfigCache } from "../streams/bucket-config-cache.js";
import { aboutOf, type KeyPlace } from "../read/entries.js";
import { outcomeUnknown } from "../client/errors.js";
import type { MessageReader, Place } from "../client/message-reader.js";

export class Incarnations {
  constructor(
    private readonly facts: BucketConfigCache,
    private readonly reader: MessageReader,
  ) {}

  /** See `Store.bucketCreatedAtMs`. */
  createdAtMs(
    place: Place,
    context: CallContext,
    freshness: "known" | "recent" | "current",
  ): number | Promise<number> {
    if (freshness === "current") return this.current(place, context);
    const known = freshness === "known" ? this.facts.latest(place) : this.facts.recent(place);
    return known?.createdAtMs ?? this.facts.read(place, context).then(({ createdAtMs }) => createdAtMs);
  }

  /** Runs a write of a key: see `WriteOptions.bucketCreatedAtMs`. What refuses it for a revision says of which bucket that is. */
  async write(
    place: KeyPlace,
    wanted: number | undefined,
    context: CallContext,
    write: () => Promise<bigint>,
  ): Promise<bigint> {
    const known = wanted === undefined ? this.ifKnown(place, context) : this.current(place, context);
    const createdAtMs = known instanceof Promise ? await known : known;
    if (wanted !== undefined && createdAtMs !== undefined && createdAtMs !== wanted)
      throw await this.recreated(place, wanted, createdAtMs, context);
    let revision: bigint;
    try {
      revision = await write();
    } catch (error) {
      throw error instanceof KvError && CONFLICTS.has(error.kind)
        ? withDetails(error, { bucketCreatedAtMs: createdAtMs })
        : error;
    }
    if (wanted !== undefined && revision !== 0n) await this.checkWentTo(place, wanted, context);
    return revision;
  }

  /** Undefined where it can't be read: the write finds out whether it waits, or why it fails. */
  private ifKnown(place: Place, context: CallContext): number | Promise<number | undefined> {
    const createdAtMs = this.createdAtMs(place, context, "recent");
    return typeof createdAtMs === "number" ? createdAtMs : createdAtMs.catch(() => undefined);
  }

  private async current(place: Place, context: CallContext): Promise<number> {
    const createdAtMs = Date.parse((await this.reader.stream(place, context)).created);
    if (this.facts.latest(place)?.createdAtMs !== createdAtMs) this.facts.forget(place.stream);
    return createdAtMs;
  }

  private async recreated(
    place: KeyPlace,
    wanted: number,
    createdAtMs: number,
    context: CallContext,
  ): Promise<KvError> {
    const newest = await this.reader.newest(place, place.subject, context);
    return new KvError(
      "revision_mismatch",
      `The bucket was created at ${timeOf(createdAtMs)}, not at ${timeOf(wanted)}. It may have been recreated: read the key again.`,
      { ...aboutOf(place), revision: newest?.sequence ?? 0n, bucketCreatedAtMs: createdAtMs },
    );
  }

  /** Throws `outcome_unknown` where the write may have gone to a bucket that was created after the first look. */
  private async checkWentTo(place: KeyPlace, wanted: number, context: CallContext): Promise<void> {
    let cause: unknown;
    try {
      if ((await this.current(place, context)) === wanted) return;
    } catch (error) {
      cause = error;
    }
    throw outcomeUnknown(aboutOf(place), cause);
  }
}

const CONFLICTS: ReadonlySet<string> = new Set(["revision_mismatch", "key_exists"]);

function timeOf(timeMs: number): string {
  return Number.isFinite(new Date(timeMs).getTime()) ? new Date(timeMs).toISOString() : String(timeMs);
}
