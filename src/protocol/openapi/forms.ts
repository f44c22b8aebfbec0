/**
 * Describes the REST forms that do not follow from the contract: the counterpart of the code in rest/*-shapes.ts. Methods without an entry
 * use their messages unchanged.
 */
import { ref } from "./form-schemas.js";
import { BOOLEAN, COUNT, type Json, SPAN, TEXT } from "./schemas.js";

/** The REST form of one method. Each part is optional. */
export interface Form {
  /** Query parameters that are not request fields: schema and description. */
  readonly parameters?: Readonly<Record<string, readonly [schema: Json, description: string]>>;
  /** Request headers. */
  readonly headers?: Readonly<Record<string, string>>;
  /** `message`, the default: the request message. */
  readonly body?: Json | "message";
  /** Successful responses by status. */
  readonly answers?: Readonly<Record<number, FormAnswer>>;
  /** Errors beyond those in the comments, by status. */
  readonly errors?: Readonly<Record<number, string>>;
}

export interface FormAnswer {
  readonly description: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Schemas by content type; an empty schema means bytes. */
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
        content: { ...json("KeyValue"), "*/*": {} },
      },
      304: { description: "`If-None-Match` matches the key.", headers: ETAG },
    },
    errors: { 412: "`revision_mismatch`: `If-Match` does not match the key." },
  },
  "ironflow.kv.v1.KeyValueService.Put": {
    headers: {
      "If-Match": IF_MATCH_OF_WRITE,
      "If-None-Match": "`*`: writes only if the key has no value. Otherwise 412.",
      "Idempotency-Key": IDEMPOTENCY_KEY,
      Ttl: TTL_HEADER,
      "X-Kv-Meta-*":
        "Metadata: the name follows the prefix. The value is ASCII; other characters and `%` are percent-encoded in UTF-8.",
    },
    parameters: TTL_PARAMETER,
    answers: {
      200: { description: "The value is written.", headers: ETAG, content: json("Written") },
    },
  },
  "ironflow.kv.v1.KeyValueService.Touch": {
    headers: { "If-Match": IF_MATCH_OF_WRITE, "Idempotency-Key": IDEMPOTENCY_KEY, Ttl: TTL_HEADER },
    parameters: TTL_PARAMETER,
    answers: {
      200: { description: "The value is written again.", headers: ETAG, content: json("Written") },
    },
  },
  "ironflow.kv.v1.KeyValueService.Delete": {
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
  "ironflow.kv.v1.KeyValueService.Watch": {
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
      env: [TEXT, "The environment; only `default` exists."],
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
      406: "`not_acceptable`: neither a WebSocket nor `Accept: text/event-stream` (HTTP/2).",
      426: "`upgrade_required`: neither a WebSocket nor `Accept: text/event-stream` (HTTP/1.1).",
    },
  },
};

function json(name: string): Record<string, Json> {
  return { "application/json": ref(name) };
}

function answer(description: string, schema: string): Form {
  return { answers: { 200: { description, content: json(schema) } } };
}
