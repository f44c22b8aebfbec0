/** Writing single keys. */
import { invalidArgument, KvError } from "../../kv/errors.js";
import type { CallContext } from "../../kv/call-context.js";
import type { Condition, DeleteOptions, PutOptions, TouchOptions } from "../../kv/writes.js";
import { checkCondition, checkRevision, isGone, keyExists, textOf } from "./conditions.js";
import { aboutOf, type KeyPlace, placeOf } from "../read/entries.js";
import { identityOf } from "./idempotency.js";
import type { StoredMessage } from "../client/message-reader.js";
import { operationOf } from "../streams/records.js";
import { touch } from "./touch.js";
import { valueHeaders } from "./value-limits.js";
import { DELETE_LINE, NO_EXPIRY_LINE, PURGE_LINES, REQUEST_DELETE_LINE } from "./tombstone-headers.js";
import type { Write } from "./write.js";
import { type Outcome, storedBytesOf, writeOf, WriteSteps, type WriteStepsOptions } from "./write-steps.js";
import { MISMATCH } from "./writer.js";

const NO_BYTES = new Uint8Array(0);

export class EntryWrites {
  readonly steps: WriteSteps;

  constructor(private readonly options: WriteStepsOptions) {
    this.steps = new WriteSteps(options);
  }

  async put(
    bucket: string,
    key: string,
    value: Uint8Array,
    options: PutOptions,
    context: CallContext,
  ): Promise<bigint> {
    const place = placeOf(bucket, key, this.options.owner);
    const { limits } = this.options;
    const condition = options.condition ?? "always";
    const { headerLines, metadataBytes, hasTtl } = valueHeaders(options, limits);
    this.steps.checkValueSize(place, value.length, metadataBytes);
    checkCondition(place, condition);
    const identity = identityOf(options, ["put", key, headerLines, textOf(condition)], value, limits);
    // The service's own records are small, and needed where the disk is full: API keys, tickets for watches.
    const use = this.options.owner === undefined ? "value" : "record";
    return await this.steps.run(place, identity, options, context, async (identity) => {
      const allowing = this.steps.factsThatAllow(place, value.length, metadataBytes, context);
      const facts = allowing instanceof Promise ? await allowing : allowing;
      if (hasTtl) await this.steps.checkAllowsTtl(place, facts, context);
      const write = writeOf(place, value, headerLines, identity, use);
      const values = [{ subject: place.subject, bytes: value.length + metadataBytes }];
      return await this.steps.unlessFull(write, values, facts, context, () =>
        this.steps.admit(write, storedBytesOf(write), context, () => {
          if (condition === "always") return this.steps.write(write, context).then(accepted);
          if (condition === "if_absent") return this.putIfAbsent(place, write, context);
          return this.writeIfRevision(place, write, condition.ifRevision, context);
        }),
      );
    });
  }

  /** See `Store.touch`. */
  touch(bucket: string, key: string, options: TouchOptions, context: CallContext): Promise<bigint> {
    return touch(this.options, this.steps, placeOf(bucket, key, this.options.owner), options, context);
  }

  async delete(bucket: string, key: string, options: DeleteOptions, context: CallContext): Promise<bigint> {
    const place = placeOf(bucket, key, this.options.owner);
    const condition = options.condition ?? "always";
    if (condition === "if_absent") {
      throw invalidArgument("A delete takes no condition but a revision.", aboutOf(place));
    }
    checkCondition(place, condition);
    const headerLines = options.purge === true ? PURGE_LINES : DELETE_LINE;
    const request = [
      "delete",
      key,
      options.purge === true ? PURGE_LINES : REQUEST_DELETE_LINE,
      textOf(condition),
    ];
    const identity = identityOf(options, request, NO_BYTES, this.options.limits);
    return this.steps.run(place, identity, options, context, (identity) =>
      this.deleteOnce(place, writeOf(place, NO_BYTES, headerLines, identity, "record"), condition, context),
    );
  }

  private async deleteOnce(
    place: KeyPlace,
    write: Write,
    condition: Exclude<Condition, "if_absent">,
    context: CallContext,
  ): Promise<bigint> {
    const isPurge = write.headerLines === PURGE_LINES;
    const newest = await this.options.reader.newest(place, place.subject, context);
    const live = await this.options.expiry.unlessExpired(place, newest, context);
    const isMismatch = condition !== "always" && (live?.sequence ?? 0n) !== condition.ifRevision;
    if (isMismatch || newest === undefined || live === undefined || isGone(live, isPurge)) {
      const revision = await this.steps.appliedBefore(write, newest, context);
      if (revision !== undefined) return revision;
      if (condition !== "always") checkRevision(place, condition.ifRevision, live);
      return 0n;
    }
    const { keepsTombstones } = await this.steps.facts(place, context);
    const tombstone =
      isPurge || !keepsTombstones ? write : { ...write, headerLines: write.headerLines + NO_EXPIRY_LINE };
    const send = (): Promise<bigint> =>
      this.steps.admit(tombstone, storedBytesOf(tombstone), context, () =>
        condition === "always"
          ? this.steps.write(tombstone, context).then(accepted)
          : this.writeIfRevision(place, tombstone, condition.ifRevision, context),
      );
    return this.options.quota.duringDelete(place, isPurge ? newest.sequence : undefined, context, send);
  }

  /** A tombstone counts as absent: the write replaces exactly the one that was seen. */
  private async putIfAbsent(place: KeyPlace, write: Write, context: CallContext): Promise<bigint> {
    let expected = 0n;
    for (;;) {
      const outcome = await this.steps.write({ ...write, expected }, context);
      if (outcome !== MISMATCH) return outcome;
      const newest = await this.options.reader.newest(place, place.subject, context);
      const live = await this.options.expiry.unlessExpired(place, newest, context);
      if (live !== undefined && operationOf(live.headers) === "put") {
        throw keyExists(place, live.sequence);
      }
      expected = newest?.sequence ?? 0n;
    }
  }

  private async writeIfRevision(
    place: KeyPlace,
    write: Write,
    expected: bigint,
    context: CallContext,
  ): Promise<bigint> {
    await this.checkNotExpired(place, expected, context);
    for (;;) {
      const outcome = await this.steps.write({ ...write, expected }, context);
      if (outcome !== MISMATCH) return outcome;
      // A cluster also refuses while another write of the key is under way: then the newest may still be ours.
      checkRevision(place, expected, await this.options.reader.newest(place, place.subject, context));
    }
  }

  /** The storage would still accept a write over a revision that has expired and that reads do not show any more. */
  private async checkNotExpired(place: KeyPlace, expected: bigint, context: CallContext): Promise<void> {
    const { cache, expiry, reader } = this.options;
    const read = (): Promise<StoredMessage | undefined> => reader.newest(place, place.subject, context);
    const newest = await (cache === undefined ? read() : cache.newest(place, context, read));
    // What is cached does not expire.
    if (newest === undefined || "key" in newest || newest.sequence !== expected) return;
    checkRevision(place, expected, await expiry.unlessExpired(place, newest, context));
  }
}

/** The revision of a write that had no condition. */
function accepted(outcome: Outcome): bigint {
  if (outcome === MISMATCH) throw new KvError("internal", "A write without a condition was refused for one.");
  return outcome;
}
