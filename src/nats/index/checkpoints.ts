/**
 * Copies of key indexes in files, so that a restart needs not read every key from the storage.
 *
 * A copy is only used where the storage proves that it was right and that nothing is missing between it and what is read after it:
 * - The bucket was not recreated, and its ttl is the same.
 * - A feed that had stopped at the copy's revision could go on from there (see feed/missing.ts): no tombstone since then was compacted, nothing
 *   expired without a trace, and the storage did not lose what it had. Lost writes are the newest: the last message that was seen tells.
 * - After what was stored since has been read, the message of every key is stored. In a storage that was restored from an earlier state and
 *   written since, that of the newest one would not be.
 * - The index has exactly as many subjects as the stream: nothing was purged without a trace.
 * In every other case all keys are read again.
 */
import { createHash } from "node:crypto";
import { mkdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Limits } from "../../kv/limits.js";
import type { CallContext } from "../../kv/call-context.js";
import type { Log } from "../client/log.js";
import type { Place } from "../client/message-reader.js";
import type { Requests } from "../client/requests.js";
import type { Following } from "../feed/bucket-feed.js";
import { missedUpTo } from "../feed/resume-rule.js";
import { lostDelivered } from "../feed/rollback.js";
import { StreamApi } from "../read/stream-api.js";
import type { BucketIndex } from "./bucket-index.js";
import { checkpointOf, factsOf, type IndexCheckpoint } from "./checkpoint.js";
import { readCheckpointFile, writeCheckpointFile } from "./checkpoint-file.js";

export interface CheckpointsOptions {
  readonly folder: string;
  readonly requests: Requests;
  readonly storedMessageBytesMax: number;
  readonly limits: Pick<Limits, "indexCheckpointKeysMin" | "indexCheckpointDeletedMax">;
  readonly disk: { readonly hasRoom: boolean };
  /** Larger files are not read: the index would not fit into memory. */
  readonly bytesMax: number;
  readonly log: Log | undefined;
}

/** A file is written again after so many changes as this part of the keys, and this time. */
const CHANGED_PART = 0.25;
const WRITE_INTERVAL_MS = 30_000;
/** How often a copy is compared with the stream while it changes, or the server removes what has expired. */
const COMPARISONS_MAX = 25;
const COMPARE_AGAIN_MS = 20;
const NAME_BYTES = 16;
const REFUSED_SENTENCE = "The copy of a key index is not used; all keys are read again.";

interface Written {
  readonly revision: number;
  readonly atMs: number;
}

export class Checkpoints {
  private readonly written = new Map<string, Written>();
  /** The file that is being written. */
  private writing: Promise<void> | undefined;

  constructor(private readonly options: CheckpointsOptions) {}

  /** Restores an index from its file. Returns the revision that it then has; undefined: there is no file, or it does not fit the stream. */
  async restore(place: Place, index: BucketIndex, following: Following): Promise<number | undefined> {
    const { stream } = place;
    let checkpoint: IndexCheckpoint;
    try {
      if ((await stat(this.pathOf(stream))).size > this.options.bytesMax) return undefined;
      const { facts, trees } = await readCheckpointFile(this.pathOf(stream));
      checkpoint = checkpointOf(facts, trees);
    } catch (error) {
      const isMissing = error instanceof Error && "code" in error && error.code === "ENOENT";
      if (!isMissing) this.refuse(place, String(error));
      return undefined;
    }
    const why = await this.difference(this.apiOf(place), checkpoint, following);
    if (why !== undefined) {
      this.refuse(place, why);
      return undefined;
    }
    index.restore(checkpoint);
    this.written.set(stream, { revision: checkpoint.revision, atMs: performance.now() });
    return checkpoint.revision;
  }

  /** Ends an index that was restored as of a revision, and has been loaded, where it does not fit the stream. */
  async verify(place: Place, index: BucketIndex, revision: number, context: CallContext): Promise<void> {
    const api = this.apiOf(place);
    const fits =
      (await this.hasAll(api, index, revision, context)) && (await this.hasSubjects(api, index, context));
    if (fits || index.isOver) return;
    this.refuse(place, "the stream has other messages");
    index.refuse("its copy differs from the stream");
  }

  /** Writes an index if it has changed much since it was last written. Never throws. */
  async writeIfDue(stream: string, index: BucketIndex): Promise<void> {
    if (this.writing !== undefined) return;
    const written = this.written.get(stream);
    if (written !== undefined) {
      const changes = index.revision - written.revision;
      if (changes < index.keys.size * CHANGED_PART) return;
      if (performance.now() - written.atMs < WRITE_INTERVAL_MS) return;
    }
    await this.write(stream, index);
  }

  /** Writes an index if it has changed. Never throws. */
  async write(stream: string, index: BucketIndex): Promise<void> {
    await this.writing;
    if (index.keys.size < this.options.limits.indexCheckpointKeysMin) return;
    if (index.revision === this.written.get(stream)?.revision || !this.options.disk.hasRoom) return;
    const checkpoint = index.checkpoint();
    if (checkpoint === undefined) return;
    this.written.set(stream, { revision: checkpoint.revision, atMs: performance.now() });
    this.writing = this.writeFile(stream, checkpoint).finally(() => (this.writing = undefined));
    await this.writing;
  }

  /** The bucket was deleted. */
  forget(stream: string): void {
    this.written.delete(stream);
    void rm(this.pathOf(stream), { force: true }).catch(() => undefined);
  }

  private async writeFile(
    stream: string,
    checkpoint: NonNullable<ReturnType<BucketIndex["checkpoint"]>>,
  ): Promise<void> {
    try {
      await mkdir(this.options.folder, { recursive: true, mode: 0o700 });
      const { trees } = checkpoint;
      await writeCheckpointFile(this.pathOf(stream), { facts: factsOf(checkpoint), trees });
    } catch (error) {
      this.options.log?.warn({ stream, err: error }, "The copy of a key index can't be written.");
    }
  }

  /** Why a checkpoint can't be used; undefined: it can. */
  private async difference(
    api: StreamApi,
    { created, ageMsMax, revision, lastSeen }: IndexCheckpoint,
    following: Following,
  ): Promise<string | undefined> {
    const state = await api.state();
    if (state.created !== created || following.origin.created !== created) return "the bucket was recreated";
    if (state.ageMsMax !== ageMsMax) return "the ttl was changed";
    if (state.lastSequence < revision) return "the stream is behind";
    if ((await missedUpTo(api, state, revision + 1, undefined)) !== undefined)
      return "changes may be gone without a trace";
    return (await lostDelivered(api, state, lastSeen)) ? "the stream lost writes" : undefined;
  }

  /** Whether every key of the index is stored. */
  private async hasAll(
    api: StreamApi,
    index: BucketIndex,
    revision: number,
    context: CallContext,
  ): Promise<boolean> {
    const stored = await api.deletedSequences(this.options.limits.indexCheckpointDeletedMax);
    if (stored === undefined) return this.hasNewest(api, index, revision);
    const { state, deleted } = stored;
    await index.appliedThrough(state.lastSequence, context);
    const isGone = (sequence: number): boolean =>
      sequence <= state.lastSequence && (sequence < state.firstSequence || deleted.has(sequence));
    return (await index.newest(isGone, state.compactedTo)) === undefined;
  }

  /** Whether the newest key up to a revision is stored: writes that a storage loses are the newest. */
  private async hasNewest(api: StreamApi, index: BucketIndex, revision: number): Promise<boolean> {
    for (let attempt = 1; attempt <= COMPARISONS_MAX; attempt++) {
      const { compactedTo } = await api.state();
      const newest = await index.newest((sequence) => sequence <= revision, compactedTo);
      if (newest === undefined) return true;
      const stored = await api.messageAt(newest.revision);
      if (stored !== undefined) return Number(stored.atNanos / NANOS_PER_MS) === newest.timeMs;
      // It may have been replaced or removed just now.
      await delay(COMPARE_AGAIN_MS);
    }
    return false;
  }

  private async hasSubjects(api: StreamApi, index: BucketIndex, context: CallContext): Promise<boolean> {
    for (let attempt = 1; attempt <= COMPARISONS_MAX; attempt++) {
      const state = await api.state();
      await index.appliedThrough(state.lastSequence, context);
      const agrees = index.agreesWith(state);
      if (agrees !== undefined) return agrees;
      await delay(COMPARE_AGAIN_MS);
    }
    return false;
  }

  private refuse({ bucket, stream }: Place, why: string): void {
    this.options.log?.warn({ bucket, why }, REFUSED_SENTENCE);
    this.forget(stream);
  }

  private apiOf({ bucket, stream }: Place): StreamApi {
    return new StreamApi(this.options.requests, bucket, stream, this.options.storedMessageBytesMax);
  }

  /** Names of streams may differ by case alone, which some file systems ignore. */
  private pathOf(stream: string): string {
    const name = createHash("sha256")
      .update(stream)
      .digest("hex")
      .slice(0, 2 * NAME_BYTES);
    return join(this.options.folder, name);
  }
}

const NANOS_PER_MS = 1_000_000n;
