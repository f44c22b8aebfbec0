/** Compares the conditions of a commit with what is stored, and says what the storage must find for them to hold. */
import { KvError } from "../../kv/errors.js";
import type { Limits } from "../../kv/limits.js";
import { quote, subjectPrefix, unescapeKey } from "../../kv/names.js";
import type { CallContext } from "../../kv/call-context.js";
import {
  type MessageReader,
  type Place,
  type StoredMessage,
  storedMessageBytesMax,
} from "../client/message-reader.js";
import type { Requests } from "../client/requests.js";
import { missedUpTo } from "../feed/resume-rule.js";
import type { ReadCache } from "../read/read-cache.js";
import { StreamApi, type StreamState } from "../read/stream-api.js";
import type { Expiry } from "../streams/expiry.js";
import { operationOf } from "../streams/records.js";
import type { Expectation } from "./commit-plan.js";
import { atOperation, type CommitRequest, type FilterGuard, type Guard } from "./commit-request.js";
import { checkRevision, keyExists } from "./conditions.js";
import { within } from "./keyed-writes.js";

export interface CommitConditionsOptions {
  /** For reads of the bucket's state. */
  readonly requests: Requests;
  readonly reader: MessageReader;
  readonly expiry: Expiry;
  readonly cache: ReadCache | undefined;
  readonly limits: Limits;
}

/** The conditions hold if the storage finds this. */
export interface Conditions {
  readonly expectations: readonly Expectation[];
  /** See `CommitPlan.streamSequence`. */
  readonly streamSequence: bigint | undefined;
}

/** Reads under way at once. */
const READS_MAX = 64;

export class CommitConditions {
  constructor(private readonly options: CommitConditionsOptions) {}

  /**
   * Reads the keys. Undefined: the bucket changed meanwhile, read again. Throws what `Store.commit` says, for the first operation that does
   * not hold. `assumesAbsent`: keys that must be absent are not read, but taken to have no message.
   */
  async read(
    place: Place,
    request: CommitRequest,
    replicas: number,
    assumesAbsent: boolean,
    context: CallContext,
  ): Promise<Conditions | undefined> {
    const { guards, filters } = request;
    const isReplicated = replicas > 1;
    // Read first: what follows it may be newer, and then the commit is refused.
    const streamSequence =
      filters.length > 0 && isReplicated
        ? BigInt((await this.options.reader.stream(place, context)).state.last_seq)
        : undefined;
    const refusals: KvError[] = [];
    const expectations: Expectation[] = [];
    const collect = async (check: Promise<Expectation>): Promise<void> => {
      try {
        expectations.push(await check);
      } catch (error) {
        if (!(error instanceof KvError) || error.operationIndex === undefined) throw error;
        refusals.push(error);
      }
    };
    for (let at = 0; at < guards.length; at += READS_MAX) {
      const some = guards.slice(at, at + READS_MAX);
      await Promise.all(some.map((guard) => collect(this.keyExpectation(guard, assumesAbsent, context))));
    }
    if (filters.length > 0) {
      const api = this.apiOf(place);
      const state = await inTime(api.state(), place, context);
      for (const guard of filters) await collect(this.filterExpectation(place, guard, api, state, context));
    }
    const first = refusals.sort((a, b) => (a.operationIndex ?? 0) - (b.operationIndex ?? 0))[0];
    if (first !== undefined) throw first;
    const bySubject = new Map<string, bigint>();
    for (const { subject, sequence } of expectations) {
      if ((bySubject.get(subject) ?? sequence) !== sequence) return undefined;
      bySubject.set(subject, sequence);
    }
    const distinct = [...bySubject].map(([subject, sequence]) => ({ subject, sequence }));
    // A replicated stream does not see writes in flight in a check on a subject with wildcards (nats-server, `diff.inflight`).
    return { expectations: distinct, streamSequence };
  }

  private async keyExpectation(
    { place, condition, index }: Guard,
    assumesAbsent: boolean,
    context: CallContext,
  ): Promise<Expectation> {
    const { subject } = place;
    if (condition === "if_absent" && assumesAbsent) return { subject, sequence: 0n };
    const { cache, expiry, reader } = this.options;
    const read = (): Promise<StoredMessage | undefined> => reader.newest(place, subject, context);
    const newest = await (cache === undefined ? read() : cache.newest(place, context, read));
    const isCached = newest !== undefined && "key" in newest;
    const live = isCached ? undefined : await expiry.unlessExpired(place, newest, context);
    const revision = isCached ? newest.revision : (live?.sequence ?? 0n);
    const hasValue = isCached
      ? newest.operation === "put"
      : live !== undefined && operationOf(live.headers) === "put";
    atOperation(index, {}, () => {
      if (condition !== "if_absent") checkRevision(place, condition.ifRevision, { sequence: revision });
      else if (hasValue) throw keyExists(place, revision);
    });
    return { subject, sequence: isCached ? newest.revision : (newest?.sequence ?? 0n) };
  }

  private async filterExpectation(
    place: Place,
    guard: FilterGuard,
    api: StreamApi,
    state: StreamState,
    context: CallContext,
  ): Promise<Expectation> {
    const { subject, since, index, filter } = guard;
    const { bucket } = place;
    const { reader } = this.options;
    const newest = await reader.newestMatching(place, subject, context);
    const last = BigInt(state.lastSequence);
    const about = { bucket, operationIndex: index };
    if (since > last) {
      const sentence = `The revision ${since} has not been written; the bucket's newest is ${last}.`;
      throw new KvError("revision_in_future", sentence, { ...about, revision: last });
    }
    const changed = newest === undefined ? undefined : await this.changedKey(place, guard, newest, context);
    if (changed !== undefined) {
      const sentence = `A key that matches the filter ${quote(filter)} changed after the revision ${since}.`;
      throw new KvError("revision_mismatch", sentence, { ...about, ...changed });
    }
    const seen = since === 0n ? undefined : await reader.at(place, since, context);
    const awayMs = seen === undefined ? undefined : state.nowMs - seen.timeMs;
    const oldest = await inTime(missedUpTo(api, state, Number(since) + 1, awayMs), place, context);
    if (oldest !== undefined) {
      const sentence = `Whether a key that matches the filter ${quote(filter)} changed after the revision ${since} is no longer known; read the keys again.`;
      throw new KvError("revision_compacted", sentence, { ...about, revision: BigInt(oldest) - 1n });
    }
    return { subject, sequence: newest?.sequence ?? 0n };
  }

  /** A key that matches a filter and changed after its revision. `newest`: the newest message that matches; it may be of no key. */
  private async changedKey(
    place: Place,
    { subject, since }: FilterGuard,
    newest: StoredMessage,
    context: CallContext,
  ): Promise<{ readonly key: string; readonly revision: bigint } | undefined> {
    const prefixLength = subjectPrefix(place.bucket).length;
    const keyOf = (message: StoredMessage): string | undefined =>
      unescapeKey(message.subject.slice(prefixLength));
    if (newest.sequence <= since) return undefined;
    const newestKey = keyOf(newest);
    if (newestKey !== undefined) return { key: newestKey, revision: newest.sequence };
    for (let from = since + 1n; from < newest.sequence;) {
      const message = await this.options.reader.next(place, subject, from, context);
      if (message === undefined) return undefined;
      const key = keyOf(message);
      if (key !== undefined) return { key, revision: message.sequence };
      from = message.sequence + 1n;
    }
    return undefined;
  }

  private apiOf({ bucket, stream }: Place): StreamApi {
    const { limits, requests } = this.options;
    return new StreamApi(requests, bucket, stream, storedMessageBytesMax(limits));
  }
}

/** Reads of `StreamApi` are shared, and go on after the deadline of a caller. */
async function inTime<Result>(
  read: Promise<Result>,
  { bucket }: Place,
  context: CallContext,
): Promise<Result> {
  const result = await within(read, context);
  if (result !== "timed_out") return result;
  throw new KvError("deadline_exceeded", "The deadline expired before the storage responded.", { bucket });
}
