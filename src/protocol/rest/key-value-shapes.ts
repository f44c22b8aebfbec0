/** The REST form of KeyValueService. Existing SDKs depend on this JSON: never change a name. */
import { create } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import {
  KeyValueService,
  type PutRequestSchema,
  type PutResponse,
  type TouchRequestSchema,
  type TouchResponse,
  WatchRequest_Start,
} from "../../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { type Entry, PreconditionSchema } from "../../../gen/ironflow/kv/v1/types_pb.js";
import { DEFAULT_LIMITS } from "../../kv/limits.js";
import { BATCH_SHAPES } from "./batch-shapes.js";
import { entityTag, matchesEntry, namesBucket } from "./entity-tag.js";
import type { HttpCall } from "./call.js";
import { entryJson, keyJson, OPERATION_NAMES } from "./entry-json.js";
import { entryHeaders, entryMembers, metadataOfHeaders, parseTtl, ttlOfHeader } from "./entry-fields.js";
import { Refusal, badRequest } from "./errors.js";
import { checkIfNoneMatchOfWrite, idempotencyKeyOf, prefers, tagOfIfMatch } from "./headers.js";
import { COMMIT_SHAPE } from "./commit-shape.js";
import { LargeValues } from "../large-values.js";
import { writeTime } from "./json.js";
import { parseBooleanParameter, parseDurationParameter } from "./parameters.js";
import { type Answer, emptyAnswer, endWithCount, shapeOf } from "./shape.js";

const BYTES = "application/octet-stream";
/** A content type that is valid in a header. Other programs may have stored anything. */
const HEADER_TEXT = /^[\x20-\x7e]+$/;
/** The progress interval of `?progress=true`. */
const PROGRESS_SECONDS = 15n;

const TTL_SECONDS = {
  read(
    { request }: HttpCall<typeof PutRequestSchema | typeof TouchRequestSchema>,
    text: string,
    name: string,
  ): void {
    request.ttl = parseTtl(text, name);
  },
};

export const KEY_VALUE_SHAPES = [
  shapeOf(KeyValueService.method.get, {
    parameters: {
      raw: {
        read: (call, text, name) => (call.options.raw = parseBooleanParameter(text, name)),
      },
    },
    withoutParameters: ["verify_bucket"],
    readHeaders({ headers, request }) {
      request.verifyBucket = namesBucket(headers["if-match"]) || namesBucket(headers["if-none-match"]);
    },
    answer({ entry, bucketCreatedAt }, call) {
      if (entry === undefined) throw new Error("Get answered without an entry");
      const ifMatch = call.headers["if-match"];
      const ifNoneMatch = call.headers["if-none-match"];
      const etag = entityTag(entry.revision, bucketCreatedAt);
      if (ifMatch !== undefined && !matchesEntry(ifMatch, entry.revision, bucketCreatedAt)) {
        throw new Refusal(
          412,
          "revision_mismatch",
          `The key's ETag is ${etag}, which If-Match does not name.`,
          { etag },
        );
      }
      if (ifNoneMatch !== undefined && matchesEntry(ifNoneMatch, entry.revision, bucketCreatedAt)) {
        return {
          status: 304,
          headers: { etag, vary: "Accept", "cache-control": "no-cache" },
          body: undefined,
        };
      }
      const wantsBytes = call.options.raw ?? prefers(call.headers.accept, BYTES, "application/json");
      return wantsBytes ? bytesAnswer(entry, etag) : entryAnswer(entry, etag);
    },
  }),

  shapeOf(KeyValueService.method.put, {
    withoutParameters: ["content_type", "precondition", "idempotency_key", "ttl"],
    parameters: { ttl_seconds: TTL_SECONDS },
    tooLargeCode: "value_too_large",
    readHeaders({ headers, request }) {
      const ifMatch = headers["if-match"];
      const ifNoneMatch = headers["if-none-match"];
      if (ifMatch !== undefined && ifNoneMatch !== undefined) {
        throw badRequest("If-Match and If-None-Match are both set; a write takes one of them.");
      }
      if (ifMatch !== undefined) {
        const { revision, bucketCreatedAt } = tagOfIfMatch(ifMatch);
        request.precondition = create(PreconditionSchema, {
          condition: { case: "ifRevision", value: revision },
        });
        if (bucketCreatedAt !== undefined) request.precondition.ifBucketCreatedAt = bucketCreatedAt;
      }
      if (ifNoneMatch !== undefined) {
        checkIfNoneMatchOfWrite(ifNoneMatch);
        request.precondition = create(PreconditionSchema, { condition: { case: "ifAbsent", value: true } });
      }
      request.contentType = headers["content-type"] ?? "";
      const ttl = ttlOfHeader(headers, request.ttl);
      if (ttl !== undefined) request.ttl = ttl;
      request.metadata = metadataOfHeaders(headers);
      request.idempotencyKey = idempotencyKeyOf(headers["idempotency-key"]);
    },
    answer: writtenAnswer,
  }),

  shapeOf(KeyValueService.method.touch, {
    withoutParameters: ["ttl", "if_revision", "if_bucket_created_at", "idempotency_key"],
    parameters: { ttl_seconds: TTL_SECONDS },
    readHeaders({ headers, request }) {
      if (headers["if-none-match"] !== undefined) {
        throw badRequest("If-None-Match is set; a touch takes If-Match only.");
      }
      const ifMatch = headers["if-match"];
      if (ifMatch !== undefined) {
        const { revision, bucketCreatedAt } = tagOfIfMatch(ifMatch);
        request.ifRevision = revision;
        if (bucketCreatedAt !== undefined) request.ifBucketCreatedAt = bucketCreatedAt;
      }
      const ttl = ttlOfHeader(headers, request.ttl);
      if (ttl !== undefined) request.ttl = ttl;
      request.idempotencyKey = idempotencyKeyOf(headers["idempotency-key"]);
    },
    answer: writtenAnswer,
  }),

  shapeOf(KeyValueService.method.delete, {
    withoutParameters: ["if_revision", "if_bucket_created_at", "idempotency_key"],
    readHeaders({ headers, request }) {
      if (headers["if-none-match"] !== undefined) {
        throw badRequest("If-None-Match is set; a delete takes If-Match only.");
      }
      const ifMatch = headers["if-match"];
      if (ifMatch !== undefined) {
        const { revision, bucketCreatedAt } = tagOfIfMatch(ifMatch);
        request.ifRevision = revision;
        if (bucketCreatedAt !== undefined) request.ifBucketCreatedAt = bucketCreatedAt;
      }
      request.idempotencyKey = idempotencyKeyOf(headers["idempotency-key"]);
    },
    answer: emptyAnswer,
  }),

  COMMIT_SHAPE,

  shapeOf(KeyValueService.method.listKeys, {
    parameters: { filter: { repeats: true, read: ({ request }, text) => request.filters.push(text) } },
    list: {
      begin: () => `{"keys":[`,
      items: ({ keys }) => keys.map((key) => JSON.stringify(key)),
      end: endWithCount,
    },
  }),

  shapeOf(KeyValueService.method.getHistory, {
    list: {
      // Without a limit, the service returns the complete history, or an error if it does not fit into one response.
      pageLimit: DEFAULT_LIMITS.historyMax,
      begin: ({ request }) => `{"key":${JSON.stringify(request.key)},"entries":[`,
      items: ({ entries }, large) => entries.map((entry) => historyItem(entry, large)),
      end: endWithCount,
    },
  }),

  shapeOf(KeyValueService.method.watch, {
    withoutParameters: ["progress_interval"],
    parameters: {
      key: { repeats: true, read: ({ request }, text) => request.filters.push(text) },
      filter: { repeats: true, read: ({ request }, text) => request.filters.push(text) },
      initial: { read: (call, text, name) => (call.options.initial = parseBooleanParameter(text, name)) },
      ticket: { read: (call, text) => (call.options.ticket = text) },
      // Browser SDKs send it.
      token: { read: (call, text) => (call.options.token = text) },
      snapshot_end: {
        read: (call, text, name) => (call.options.snapshotEnd = parseBooleanParameter(text, name)),
      },
      progress: {
        read({ request }, text, name) {
          if (text === "false") return;
          request.progressInterval =
            text === "true"
              ? create(DurationSchema, { seconds: PROGRESS_SECONDS })
              : parseDurationParameter(text, name);
        },
      },
    },
    readHeaders(call) {
      // With a start revision there is no snapshot anyway.
      if (call.options.initial === false && call.request.startRevision === 0n) {
        call.request.start = WatchRequest_Start.NOW;
      }
    },
  }),

  shapeOf(KeyValueService.method.scan, {
    parameters: { filter: { repeats: true, read: ({ request }, text) => request.filters.push(text) } },
    lines({ entries, revision, end }, { request }, large) {
      if (end !== undefined) return `{"end":true,"complete":${end.complete},"revision":${revision}}\n`;
      const line = request.keysOnly ? keyJson : entryJson;
      return entries.map((entry) => `${line(entry, large)}\n`).join("");
    },
  }),

  ...BATCH_SHAPES,
];

function writtenAnswer({ revision, bucketCreatedAt }: PutResponse | TouchResponse): Answer {
  return {
    status: 200,
    headers: { "content-type": "application/json", etag: entityTag(revision, bucketCreatedAt) },
    body: `{"revision":${revision}}`,
  };
}

function historyItem(entry: Entry, large: LargeValues): string {
  const createdAt = entry.createdAt === undefined ? "" : `,"created_at":"${writeTime(entry.createdAt)}"`;
  const type = entry.contentType === "" ? "" : `,"content_type":${JSON.stringify(entry.contentType)}`;
  const operation = OPERATION_NAMES[entry.operation];
  return `{"revision":${entry.revision},"operation":"${operation}","value":"${large.base64(entry.value)}"${createdAt}${type}${entryMembers(entry)}}`;
}

/** The entry as JSON, built by hand: this is the hottest path. */
function entryAnswer(entry: Entry, etag: string): Answer {
  const createdAt = entry.createdAt === undefined ? "" : writeTime(entry.createdAt);
  const large = new LargeValues();
  const text = `{"key":${JSON.stringify(entry.key)},"value":"${large.base64(entry.value)}","revision":${entry.revision},"created_at":"${createdAt}","operation":"put"${entryMembers(entry)}}`;
  return {
    status: 200,
    headers: {
      "content-type": "application/json",
      "cache-control": "no-cache",
      vary: "Accept",
      etag,
      ...entryHeaders(entry),
    },
    body: large.isNeeded ? large.encode(text) : text,
  };
}

/**
 * The value's bytes with their stored content type. Any writer could store a web page, so the headers keep browsers from running it in this
 * origin, and from guessing another type.
 */
function bytesAnswer(entry: Entry, etag: string): Answer {
  return {
    status: 200,
    headers: {
      "content-type": HEADER_TEXT.test(entry.contentType) ? entry.contentType : BYTES,
      "cache-control": "no-cache",
      vary: "Accept",
      etag,
      ...entryHeaders(entry),
      "x-content-type-options": "nosniff",
      "content-security-policy": "default-src 'none'; sandbox",
    },
    body: entry.value,
  };
}
