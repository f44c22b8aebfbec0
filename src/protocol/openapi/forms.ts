/**
 * Describes the REST forms that do not follow from the contract: the counterpart of the code in rest/*-shapes.ts. Methods without an entry
 * use their messages unchanged.
 */
import { ref } from "./form-schemas.js";
import { BINARY, BOOLEAN, COUNT, type Json, SPAN, TEXT } from "./schemas.js";
import { WATCH_CREDENTIALS } from "./security.js";

/** The REST form of one method. Each part is optional. */
export interface Form {
  /** Default: the method's name. Names such as `delete` are reserved words in the languages of generated clients. */
  readonly operationId?: string;
  /** Follows the comment of the method. */
  readonly note?: string;
  /** The credentials that the operation accepts. Default: those of the document. */
  readonly security?: readonly Json[];
  /** Query parameters that are not request fields: schema and description. */
  readonly parameters?: Readonly<Record<string, readonly [schema: Json, description: string]>>;
  /** Request headers. */
  readonly headers?: Readonly<Record<string, string>>;
  /** `message`, the default: the request message. */
  readonly body?: Json | "message";
  /** Successful responses by status. */
  readonly answers?: Readonly<Record<number, FormAnswer>>;
  /** Errors beyond those in the comments, by status. */
  readonly errors?: Readonly<Record<number, readonly [reason: string, sentence: string]>>;
}

export interface FormAnswer {
  readonly description: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Schemas by content type. */
  readonly content?: Readonly<Record<string, Json>>;
}

const ETAG = {
  ETag: 'The revision, and an identifier of the bucket that differs after it was deleted and recreated: `"7-lqx0w8zk"`.',
};
const IF_MATCH_OF_WRITE =
  'One ETag, or only a revision: bare, quoted or weak (`7`, `"7"`, `W/"7"`). Writes only if it matches the key. Otherwise 412.';
const IDEMPOTENCY_KEY =
  "Makes retries of this request safe: 1 to 128 visible ASCII characters, preferably random, such as a UUID.";
const TTL_HEADER = "How long the value lives, in whole seconds. The same as `ttl_seconds`.";
const TTL_PARAMETER: Form["parameters"] = {
  ttl_seconds: [COUNT, "How long the value lives, in whole seconds: at least 1. Absent: no TTL of its own."],
};

/** Forms by the method's full name. */
export const FORMS: Readonly<Record<string, Form>> = {
  "ironflow.kv.v1.BucketService.CreateBucket": {
    body: ref("NewBucket"),
    answers: {
      201: {
        description: "The created bucket.",
        headers: { Location: "The bucket's path." },
        content: json("BucketInfo"),
      },
    },
  },
  "ironflow.kv.v1.BucketService.GetBucket": answer("The bucket.", "BucketInfo"),
  "ironflow.kv.v1.BucketService.ListBuckets": answer(
    "The buckets: all of them without `limit` and `page_token`.",
    "BucketList",
  ),
  "ironflow.kv.v1.BucketService.UpdateBucket": {
    body: ref("BucketChange"),
    ...answer("The bucket after the update.", "BucketInfo"),
  },
  "ironflow.kv.v1.BucketService.CompactBucket": answer("The number of removed tombstones.", "Compacted"),
  "ironflow.kv.v1.BucketService.ListEnvironments": answer("The environments, sorted.", "EnvironmentList"),
  "ironflow.kv.v1.KeyValueService.Get": {
    operationId: "getKey",
    parameters: {
      raw: [BOOLEAN, "true: return the value's bytes, as with `Accept: application/octet-stream`."],
    },
    headers: {
      "If-None-Match": "ETags, revisions, or `*`: 304 if one of them matches the key.",
      "If-Match": "ETags, revisions, or `*`: 412 if none of them matches the key.",
    },
    answers: {
      200: {
        description:
          "The entry, or, if requested with `raw` or `Accept`, the value's bytes with the stored content type.",
        headers: ETAG,
        content: { ...json("KeyValue"), "*/*": BINARY },
      },
      304: { description: "`If-None-Match` matches the key.", headers: ETAG },
    },
    errors: { 412: ["revision_mismatch", "`If-Match` does not match the key."] },
  },
  "ironflow.kv.v1.KeyValueService.Put": {
    operationId: "putKey",
    note: "The body is the value, of any content type, not only those listed: the service stores `Content-Type` with it. Headers `X-Kv-Meta-<name>` store metadata with the value: ASCII, with `%` and all other characters percent-encoded in UTF-8.",
    headers: {
      "If-Match": IF_MATCH_OF_WRITE,
      "If-None-Match": "`*`: writes only if the key has no value. Otherwise 412.",
      "Idempotency-Key": IDEMPOTENCY_KEY,
      Ttl: TTL_HEADER,
    },
    parameters: TTL_PARAMETER,
    answers: {
      200: { description: "The value is written.", headers: ETAG, content: json("Written") },
    },
  },
  "ironflow.kv.v1.KeyValueService.Touch": {
    operationId: "touchKey",
    headers: { "If-Match": IF_MATCH_OF_WRITE, "Idempotency-Key": IDEMPOTENCY_KEY, Ttl: TTL_HEADER },
    parameters: TTL_PARAMETER,
    answers: {
      200: { description: "The value is written again.", headers: ETAG, content: json("Written") },
    },
  },
  "ironflow.kv.v1.KeyValueService.Delete": {
    operationId: "deleteKey",
    headers: { "If-Match": IF_MATCH_OF_WRITE, "Idempotency-Key": IDEMPOTENCY_KEY },
  },
  "ironflow.kv.v1.KeyValueService.Commit": {
    headers: { "Idempotency-Key": IDEMPOTENCY_KEY },
    body: "message",
    ...answer("The operations are applied, or hold.", "Committed"),
  },
  "ironflow.kv.v1.KeyValueService.ListKeys": {
    parameters: {
      filter: [
        TEXT,
        "Selects keys that match at least one of these filters; repeatable. The same as `filters`.",
      ],
    },
    ...answer("The keys: all of them without `limit` and `page_token`.", "KeyList"),
  },
  "ironflow.kv.v1.KeyValueService.GetHistory": answer(
    "The revisions, oldest first: all of them without `limit` and `page_token`.",
    "KeyHistory",
  ),
  "ironflow.kv.v1.KeyValueService.Scan": {
    parameters: {
      filter: [
        TEXT,
        "Selects keys that match at least one of these filters; repeatable. The same as `filters`.",
      ],
    },
    answers: {
      200: {
        description:
          'Lines of JSON, one for each entry; with `keys_only`, without `value`. The last line is `{"end":true,"complete":true,"revision":7}`, or an `Error`.',
        content: { "application/x-ndjson": ref("ScanLine") },
      },
    },
  },
  "ironflow.kv.v1.KeyValueService.BatchGet": {
    body: ref("KeyBatch"),
    ...answer(
      "The keys' entries, in the order of the request. `entry` is null for a key without a value.",
      "KeyBatchResult",
    ),
  },
  "ironflow.kv.v1.ConfigService.SetConfig": {
    headers: {
      "If-Match": IF_MATCH_OF_WRITE,
      "If-None-Match": "`*`: writes only if there is no such config.",
    },
    body: { type: "object" },
    answers: {
      200: { description: "The config is written.", headers: ETAG, content: json("ConfigWritten") },
    },
  },
  "ironflow.kv.v1.ConfigService.GetConfig": {
    headers: {
      "If-None-Match": "ETags, revisions, or `*`: 304 if one of them matches the config.",
      "If-Match": "ETags, revisions, or `*`: 412 if none of them matches the config.",
    },
    answers: {
      200: { description: "The config.", headers: ETAG, content: json("Config") },
      304: { description: "`If-None-Match` matches the config.", headers: ETAG },
    },
    errors: { 412: ["revision_mismatch", "`If-Match` does not match the config."] },
  },
  "ironflow.kv.v1.ConfigService.PatchConfig": {
    headers: { "If-Match": IF_MATCH_OF_WRITE },
    body: { type: "object" },
    answers: {
      200: { description: "The config is written.", headers: ETAG, content: json("ConfigWritten") },
    },
  },
  "ironflow.kv.v1.ConfigService.DeleteConfig": { headers: { "If-Match": IF_MATCH_OF_WRITE } },
  "ironflow.kv.v1.ConfigService.ListConfigs": answer(
    "The configs: all of them without `limit` and `page_token`.",
    "ConfigList",
  ),
  "ironflow.kv.v1.ConfigService.WatchConfig": {
    parameters: { token: [TEXT, "An API key, for existing browser SDKs."] },
    answers: {
      101: { description: "A WebSocket: each of its messages is a `ConfigFrame`." },
      200: {
        description:
          "With `Accept: text/event-stream`: each event's `data` is a `ConfigFrame`, its `id` the revision.",
        content: { "text/event-stream": TEXT },
      },
    },
    errors: {
      406: ["not_acceptable", "neither a WebSocket nor `Accept: text/event-stream` (HTTP/2)."],
      426: ["upgrade_required", "neither a WebSocket nor `Accept: text/event-stream` (HTTP/1.1)."],
    },
  },
  "ironflow.kv.v1.KeyValueService.DeleteKeys": {
    body: ref("KeyDeletion"),
    ...answer("The number of deleted keys, and the token of the next call.", "KeyDeletionResult"),
  },
  "ironflow.kv.v1.KeyValueService.Watch": {
    security: WATCH_CREDENTIALS,
    parameters: {
      key: [
        TEXT,
        "Selects keys that match at least one of these filters; repeatable. The same as `filters`.",
      ],
      filter: [TEXT, "The same as `key`."],
      initial: [BOOLEAN, "false: only changes, without the current values."],
      snapshot_end: [BOOLEAN, "true: send a frame at the end of the current values."],
      progress: [
        { anyOf: [BOOLEAN, SPAN] },
        "true, or a duration such as `5s`: send a frame at least that often.",
      ],
      ticket: [TEXT, "A ticket from `CreateWatchTicket`, for browsers, instead of a key."],
      token: [TEXT, "An API key, for existing browser SDKs; prefer a ticket."],
      env: [TEXT, "The environment, where a client can't set the header."],
    },
    headers: { "Last-Event-ID": "The revision of the last event received: SSE resumes after it." },
    answers: {
      101: { description: "A WebSocket: each of its messages is a `WatchFrame`." },
      200: {
        description:
          "With `Accept: text/event-stream`: each event's `data` is a `WatchFrame`, its `id` the revision.",
        content: { "text/event-stream": TEXT },
      },
    },
    errors: {
      406: ["not_acceptable", "neither a WebSocket nor `Accept: text/event-stream` (HTTP/2)."],
      426: ["upgrade_required", "neither a WebSocket nor `Accept: text/event-stream` (HTTP/1.1)."],
    },
  },
};

function json(name: string): Record<string, Json> {
  return { "application/json": ref(name) };
}

function answer(description: string, schema: string): Form {
  return { answers: { 200: { description, content: json(schema) } } };
}
