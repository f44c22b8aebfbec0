/** The handlers of KeyValueService. Each checks the request, calls the store and converts the result. */
import { create } from "@bufbuild/protobuf";
import {
  BatchGetResponse_ResultSchema,
  BatchGetResponseSchema,
  CommitResponseSchema,
  DeleteKeysResponseSchema,
  DeleteResponseSchema,
  GetHistoryResponseSchema,
  GetResponseSchema,
  type KeyValueService,
  ListKeysResponseSchema,
  PutResponseSchema,
  TouchResponseSchema,
} from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import type { BatchGetResponse_Result } from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { Consistency as ConsistencyEnum } from "../../gen/ironflow/kv/v1/types_pb.js";
import { bulkScheduler, noteShortCall } from "../kv/bulk-scheduler.js";
import { type CallContext, flowOf } from "../kv/call-context.js";
import { invalidArgument, KvError } from "../kv/errors.js";
import { quote } from "../kv/names.js";
import type { Condition, WriteOptions } from "../kv/writes.js";
import type { Consistency, KeyResult } from "../kv/reads.js";
import type { Store } from "../kv/store.js";
import type { RequestContext, Handlers } from "./calls.js";
import { commitOperationOf } from "./commit-operations.js";
import { conditionOf } from "./conditions.js";
import { ttlMsOf, entryMessage, timestampOf } from "./convert.js";
import { entryInBucket } from "./entry-in-bucket.js";
import { optionalMilliseconds, scanOptionsOf, watchOptionsOf } from "./read-options.js";
import { ScanStream } from "./scan-stream.js";
import { WatchStream } from "./watch-stream.js";

export function keyValueHandlers(store: Store): Handlers<typeof KeyValueService> {
  return {
    async get(request, context) {
      const consistency = consistencyOf(request.consistency);
      const found = await entryInBucket(store, request, context, consistency, request.verifyBucket);
      const turn = turnFor(found.entry.value.length, context);
      if (turn !== undefined) await turn;
      const response = create(GetResponseSchema);
      response.entry = entryMessage(found.entry);
      response.bucketCreatedAt = timestampOf(found.bucketCreatedAtMs, 0);
      return response;
    },

    async put(request, context) {
      const response = create(PutResponseSchema);
      noteShortCall();
      const known = createdAtOf(store, request.bucket, context);
      const createdAtMs = known instanceof Promise ? await known : known;
      if (createdAtMs !== undefined) response.bucketCreatedAt = timestampOf(createdAtMs, 0);
      response.revision = await store.put(
        request.bucket,
        request.key,
        request.value,
        {
          condition: conditionOf(request.precondition),
          bucketCreatedAtMs: optionalMilliseconds(request.precondition?.ifBucketCreatedAt),
          contentType: request.contentType,
          ttlMs: ttlMsOf(request.ttl),
          metadata: request.metadata,
          idempotencyKey: request.idempotencyKey,
          sentBefore: sentBeforeOf(request, context),
        },
        context,
      );
      return response;
    },

    async touch(request, context) {
      const response = create(TouchResponseSchema);
      noteShortCall();
      const known = createdAtOf(store, request.bucket, context);
      const createdAtMs = known instanceof Promise ? await known : known;
      if (createdAtMs !== undefined) response.bucketCreatedAt = timestampOf(createdAtMs, 0);
      response.revision = await store.touch(
        request.bucket,
        request.key,
        {
          ifRevision: request.ifRevision === 0n ? undefined : request.ifRevision,
          bucketCreatedAtMs: optionalMilliseconds(request.ifBucketCreatedAt),
          ttlMs: ttlMsOf(request.ttl),
          idempotencyKey: request.idempotencyKey,
          sentBefore: sentBeforeOf(request, context),
        },
        context,
      );
      return response;
    },

    async delete(request, context) {
      const response = create(DeleteResponseSchema);
      const condition: Condition = request.ifRevision === 0n ? "always" : { ifRevision: request.ifRevision };
      response.revision = await store.delete(
        request.bucket,
        request.key,
        {
          purge: request.purge,
          condition,
          bucketCreatedAtMs: optionalMilliseconds(request.ifBucketCreatedAt),
          idempotencyKey: request.idempotencyKey,
          sentBefore: sentBeforeOf(request, context),
        },
        context,
      );
      return response;
    },

    async deleteKeys(request, context) {
      const { filters, purge, limit, pageToken } = request;
      const options = { filters, purge, page: { limit, pageToken } };
      const { remainingMax, ...counts } = await store.deleteKeys(request.bucket, options, context);
      return create(DeleteKeysResponseSchema, { ...counts, remainingMax: BigInt(remainingMax) });
    },

    async commit(request, context) {
      noteShortCall();
      const operations = request.operations.map(commitOperationOf);
      const response = create(CommitResponseSchema);
      const known = createdAtOf(store, request.bucket, context);
      const createdAtMs = known instanceof Promise ? await known : known;
      if (createdAtMs !== undefined) response.bucketCreatedAt = timestampOf(createdAtMs, 0);
      const options = {
        bucketCreatedAtMs: optionalMilliseconds(request.ifBucketCreatedAt),
        idempotencyKey: request.idempotencyKey,
        sentBefore: sentBeforeOf(request, context),
      };
      const { revision, revisions } = await store.commit(request.bucket, operations, options, context);
      response.revision = revision;
      response.revisions = [...revisions];
      return response;
    },

    async listKeys(request, context) {
      const page = { limit: request.limit, pageToken: request.pageToken };
      const consistency = consistencyOf(request.consistency);
      const keys = await store.listKeys(request.bucket, request.filters, page, context, consistency);
      const response = create(ListKeysResponseSchema);
      response.keys = [...keys.items];
      response.nextPageToken = keys.nextPageToken;
      response.revision = keys.revision;
      return response;
    },

    async getHistory(request, context) {
      const consistency = consistencyOf(request.consistency);
      const page = { limit: request.limit, pageToken: request.pageToken };
      const history = await store.history(request.bucket, request.key, page, context, consistency);
      await turnFor(
        history.items.reduce((sum, { value }) => sum + value.length, 0),
        context,
      );
      return create(GetHistoryResponseSchema, {
        entries: history.items.map(entryMessage),
        nextPageToken: history.nextPageToken,
      });
    },

    async watch(request, context) {
      const watch = await store.watch(request.bucket, watchOptionsOf(request), context);
      return new WatchStream(watch, flowOf(context));
    },

    async scan(request, context) {
      const consistency = consistencyOf(request.consistency);
      const scan = await store.scan(request.bucket, scanOptionsOf(request), context, consistency);
      return new ScanStream(scan, flowOf(context));
    },

    async batchGet(request, context) {
      const { bucket, keys, revision } = request;
      const batch = await store.batchGet(bucket, keys, revision, context, consistencyOf(request.consistency));
      const response = create(BatchGetResponseSchema);
      response.results = batch.results.map(resultMessage);
      response.revision = batch.revision;
      response.bucketCreatedAt = timestampOf(batch.bucketCreatedAtMs, 0);
      response.unreadKeys = [...batch.unreadKeys];
      return response;
    },
  };
}

function resultMessage({ key, entry }: KeyResult): BatchGetResponse_Result {
  const result = create(BatchGetResponse_ResultSchema);
  result.key = key;
  if (entry !== undefined) result.entry = entryMessage(entry);
  return result;
}

/** Undefined for a missing bucket: the write says so, after it has checked its arguments. A promise only if the storage is asked. */
function createdAtOf(
  store: Store,
  bucket: string,
  context: CallContext,
): number | Promise<number | undefined> {
  const createdAtMs = store.bucketCreatedAtMs(bucket, context, "recent");
  if (typeof createdAtMs === "number") return createdAtMs;
  return createdAtMs.catch((error: unknown) => {
    if (error instanceof KvError && error.kind === "bucket_not_found") return undefined;
    throw error;
  });
}

/** Waits until a large response may be encoded, so that short calls come first. Undefined: now. */
function turnFor(bytes: number, context: RequestContext): Promise<void> | undefined {
  return bulkScheduler.turnIfLong(flowOf(context), bytes);
}

function consistencyOf(consistency: ConsistencyEnum): Consistency {
  switch (consistency) {
    case ConsistencyEnum.UNSPECIFIED:
    case ConsistencyEnum.STRONG:
      return "strong";
    case ConsistencyEnum.EVENTUAL:
      return "eventual";
    default:
      throw invalidArgument(`consistency is ${consistency as number}; it must be 0 to 2 (see Consistency).`);
  }
}

/** The number of earlier attempts (gRPC retry design, A6). */
const PREVIOUS_ATTEMPTS_HEADER = "grpc-previous-rpc-attempts";
/** The time since the first attempt, in milliseconds. */
const FIRST_ATTEMPT_AGE_HEADER = "ironflow-first-attempt-age-ms";
/** The time of the first attempt by the storage's clock, in milliseconds since 1970. */
const FIRST_ATTEMPT_TIME_HEADER = "ironflow-first-attempt-time-ms";
/** A revision of the bucket that the client saw before the first attempt. */
const SEEN_REVISION_HEADER = "ironflow-seen-revision";

function sentBeforeOf(
  request: { readonly idempotencyKey: string },
  context: RequestContext,
): WriteOptions["sentBefore"] {
  if (request.idempotencyKey === "") return undefined;
  const ageMs = millisecondsIn(context, FIRST_ATTEMPT_AGE_HEADER);
  const timeMs = millisecondsIn(context, FIRST_ATTEMPT_TIME_HEADER);
  const isRepeated = context.header(PREVIOUS_ATTEMPTS_HEADER) !== undefined;
  if (ageMs === undefined && timeMs === undefined && !isRepeated) return undefined;
  const seen = context.header(SEEN_REVISION_HEADER) ?? "0";
  if (!/^\d{1,19}$/.test(seen)) {
    throw invalidArgument(
      `The header ${SEEN_REVISION_HEADER} is ${quote(seen)}; it must be a revision, such as 7.`,
    );
  }
  return { after: BigInt(seen), ageMs, timeMs };
}

function millisecondsIn(context: RequestContext, header: string): number | undefined {
  const text = context.header(header);
  if (text === undefined) return undefined;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw invalidArgument(
    `The header ${header} is ${quote(text)}; it must be whole milliseconds, such as 1500.`,
  );
}
