/** Checks the operations of a commit, and finds out what each subject needs. */
import { createHash } from "node:crypto";
import { invalidArgument, KvError, type KvErrorDetails, withDetails } from "../../kv/errors.js";
import { type Filter, parseFilter } from "../../kv/filter.js";
import type { Limits } from "../../kv/limits.js";
import { quote, subjectPrefix } from "../../kv/names.js";
import type { CommitOperation, CommitPutOptions, Condition } from "../../kv/writes.js";
import { type KeyPlace, placeOf } from "../read/entries.js";
import type { PlannedWrite } from "./commit-plan.js";
import { checkCondition, textOf } from "./conditions.js";
import { DELETE_LINE, PURGE_LINES } from "./tombstone-headers.js";
import { tooLarge, valueBytesMaxOf, type ValueHeaders, valueHeaders } from "./value-limits.js";

/** What a key must be before the commit. */
export interface Guard {
  readonly place: KeyPlace;
  readonly condition: Exclude<Condition, "always">;
  /** The position of the first operation that requires it. */
  readonly index: number;
}

/** Keys that must not have changed after a revision. */
export interface FilterGuard {
  readonly filter: string;
  /** With the bucket's prefix. */
  readonly subject: string;
  readonly since: bigint;
  readonly index: number;
}

export interface CommitWrite extends PlannedWrite {
  readonly place: KeyPlace;
  readonly isPut: boolean;
  readonly metadataBytes: number;
  readonly hasTtl: boolean;
  readonly index: number;
}

export interface CommitRequest {
  readonly bucket: string;
  readonly writes: readonly CommitWrite[];
  readonly guards: readonly Guard[];
  readonly filters: readonly FilterGuard[];
  /** What it asks for, beside the values, and a digest of those. */
  readonly identity: readonly unknown[];
  readonly digest: Uint8Array;
  readonly operationCount: number;
}

interface RequestOptions {
  readonly limits: Limits;
  readonly maxPayloadBytes: number;
}

const NO_BYTES = new Uint8Array(0);

/** Throws `invalid_argument` and `value_too_large`, with the position of the operation. */
export function checkCommit(
  bucket: string,
  operations: readonly CommitOperation[],
  options: RequestOptions,
): CommitRequest {
  const { commitOperationsMax, commitBytesMax, filtersMax } = options.limits;
  const refuse = (sentence: string): KvError => invalidArgument(sentence, { bucket });
  if (operations.length === 0 || operations.length > commitOperationsMax) {
    throw refuse(`The commit has ${operations.length} operations; it must have 1 to ${commitOperationsMax}.`);
  }
  const filterCount = operations.filter(({ type }) => type === "check_unchanged").length;
  if (filterCount > filtersMax) {
    throw refuse(`The commit checks ${filterCount} filters; it may check at most ${filtersMax}.`);
  }
  const builder = new CommitBuilder(bucket, options);
  for (const [index, operation] of operations.entries())
    atOperation(index, { bucket }, () => builder.add(operation, index));
  if (builder.bytes > commitBytesMax) {
    throw refuse(
      `The keys and values of the commit have ${builder.bytes} bytes; they must have at most ${commitBytesMax}.`,
    );
  }
  return builder.request();
}

class CommitBuilder {
  bytes = 0;
  private readonly writes = new Map<string, CommitWrite>();
  private readonly guards = new Map<string, Guard>();
  private readonly checked = new Set<string>();
  private readonly filters: FilterGuard[] = [];
  private readonly identity: unknown[] = ["commit"];
  private readonly hash = createHash("sha256");

  constructor(
    private readonly bucket: string,
    private readonly options: RequestOptions,
  ) {}

  add(operation: CommitOperation, index: number): void {
    switch (operation.type) {
      case "check":
        this.addCheck(placeOf(this.bucket, operation.key), operation.condition, index);
        break;
      case "check_unchanged":
        this.addFilter(operation.filter, operation.since, index);
        break;
      case "put":
        this.addPut(operation, index);
        break;
      case "delete": {
        const { key, purge, condition } = operation;
        const headerLines = purge ? PURGE_LINES : DELETE_LINE;
        this.addWrite(key, NO_BYTES, headerLines, condition, index);
        this.identity.push([purge ? "purge" : "delete", key, textOf(condition)]);
      }
    }
  }

  request(): CommitRequest {
    const { bucket, identity } = this;
    return {
      ...{ bucket, identity, filters: this.filters },
      writes: [...this.writes.values()],
      guards: [...this.guards.values()],
      digest: this.hash.digest(),
      operationCount: identity.length - 1,
    };
  }

  private addCheck(place: KeyPlace, condition: Guard["condition"], index: number): void {
    if (this.checked.has(place.subject)) {
      throw invalidArgument(
        `The key ${quote(place.key)} is checked twice; a commit may check it once.`,
        place,
      );
    }
    this.checked.add(place.subject);
    this.bytes += Buffer.byteLength(place.key);
    this.guard(place, condition, index);
    this.identity.push(["check", place.key, textOf(condition)]);
  }

  private addFilter(text: string, since: bigint, index: number): void {
    const filter: Filter = parseFilter(text);
    if (!filter.subjectDecides) {
      throw invalidArgument(
        `The filter ${quote(text)} has '*' inside a token; in a check, '*' must be a complete token.`,
      );
    }
    this.bytes += Buffer.byteLength(text);
    const subject = subjectPrefix(this.bucket) + filter.subject;
    this.filters.push({ filter: text, subject, since, index });
    this.identity.push(["unchanged", text, since.toString()]);
  }

  private addPut(
    {
      key,
      value,
      options,
    }: { readonly key: string; readonly value: Uint8Array; readonly options: CommitPutOptions },
    index: number,
  ): void {
    const { condition = "always" } = options;
    const headers = valueHeaders(options, this.options.limits);
    const { headerLines, metadataBytes } = headers;
    const place = this.addWrite(key, value, headerLines, condition, index, headers);
    this.bytes += metadataBytes;
    const most = valueBytesMaxOf(this.options);
    if (value.length + metadataBytes > most)
      throw tooLarge(place, value.length, most, "the service", metadataBytes);
    this.hash.update(value);
    this.identity.push(["put", key, headerLines, textOf(condition), value.length]);
  }

  private addWrite(
    key: string,
    data: Uint8Array,
    headerLines: string,
    condition: Condition,
    index: number,
    headers?: ValueHeaders,
  ): KeyPlace {
    const place = placeOf(this.bucket, key);
    const { subject } = place;
    if (this.writes.has(subject)) {
      throw invalidArgument(`The key ${quote(key)} is written twice; a commit may write it once.`, place);
    }
    const isPut = headers !== undefined;
    const { metadataBytes = 0, hasTtl = false } = headers ?? {};
    this.writes.set(subject, { place, subject, data, headerLines, isPut, metadataBytes, hasTtl, index });
    this.bytes += Buffer.byteLength(key) + data.length;
    if (condition !== "always") this.guard(place, condition, index);
    return place;
  }

  /** Adds the condition of a key. Throws if another operation requires something else. */
  private guard(place: KeyPlace, condition: Guard["condition"], index: number): void {
    checkCondition(place, condition);
    const known = this.guards.get(place.subject);
    if (known === undefined) {
      this.guards.set(place.subject, { place, condition, index });
      return;
    }
    if (textOf(known.condition) === textOf(condition)) return;
    throw invalidArgument(
      `The key ${quote(place.key)} has two conditions that contradict each other; a check of a key must be the condition of its write, or its only one.`,
      place,
    );
  }
}

/** Runs a step for an operation: what it throws names the operation. */
export function atOperation<Result>(index: number, about: KvErrorDetails, step: () => Result): Result {
  try {
    return step();
  } catch (error) {
    throw error instanceof KvError ? withDetails(error, { ...about, operationIndex: index }) : error;
  }
}
