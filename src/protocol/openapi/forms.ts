/**
 * What the REST bridge has of its own, for the document: the counterpart of rest/*-shapes.ts, where the code of the same methods stands.
 * Methods that are not here answer with their messages as they are.
 */
import {
  BASE64,
  BOOLEAN,
  COUNT,
  described,
  type Json,
  listOf,
  objectOf,
  SPAN,
  TEXT,
  TIME,
} from "./schemas.js";

/** The REST form of one method. Each part is optional. */
export interface Form {
  /** Query parameters that are no fields of the request: schema and description. */
  readonly parameters?: Readonly<Record<string, readonly [schema: Json, description: string]>>;
  /** Request headers. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Json;
  /** Answers that are no errors, by status. */
  readonly answers?: Readonly<Record<number, FormAnswer>>;
  /** Errors beyond those in the comments, by status. */
  readonly errors?: Readonly<Record<number, string>>;
}

export interface FormAnswer {
  readonly description: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Schemas by content type; an empty one is bytes. */
  readonly content?: Readonly<Record<string, Json>>;
}

/** Takes the full name of a field of the contract; gives what its comment says. */
export type Describe = (name: string) => string | undefined;

const ETAG = {
  ETag: 'The revision, and what tells the bucket from an earlier one of its name: `"7-lqx0w8zk"`.',
};
const IF_MATCH_OF_WRITE =
  'One ETag, or a revision alone, bare, quoted or weak (`7`, `"7"`, `W/"7"`): write only if the key is at it. Otherwise 412.';
const IDEMPOTENCY_KEY =
  "Makes it harmless to send this request again: 1 to 128 visible ASCII characters, best random, such as a UUID.";
const NEXT_PAGE = described(TEXT, "Give this as `page_token` for the next page. Absent: this was the last.");

/** The schemas that forms refer to by name. */
export function formSchemas(describe: Describe): Record<string, Json> {
  const field = (name: string, schema: Json): Json => described(schema, describe(`ironflow.kv.v1.${name}`));
  const settings = {
    description: field("CreateBucketRequest.description", TEXT),
    ttl_seconds: described(
      { type: "number", minimum: 0 },
      "How long an entry lives after it was written, in seconds: at least 1, in whole milliseconds. 0: for ever.",
    ),
    max_value_size: field("CreateBucketRequest.max_value_size", COUNT),
    max_bytes: field("CreateBucketRequest.max_bytes", COUNT),
    history: field("CreateBucketRequest.history", COUNT),
  };
  const names = Object.keys(settings);
  return {
    Error: {
      ...objectOf({
        error: described(TEXT, "A sentence for people: what was wrong, and what would be right."),
        code: described(TEXT, "For programs: one of the reasons in docs/errors.md. New ones may be added."),
      }),
    },
    BucketInfo: objectOf(
      {
        name: field("Bucket.name", TEXT),
        description: field("Bucket.description", TEXT),
        ttl_seconds: described({ type: "number" }, "How long an entry lives, in seconds. Absent: for ever."),
        max_value_size: described(
          COUNT,
          "The largest value accepted, in bytes. Absent: the service's own limit.",
        ),
        max_bytes: described(COUNT, "The most bytes the bucket may hold. Absent: no limit."),
        values: field("Bucket.values", COUNT),
        bytes: field("Bucket.bytes", COUNT),
        history: field("Bucket.history", COUNT),
        created_at: field("Bucket.created_at", TIME),
      },
      ["description", "ttl_seconds", "max_value_size", "max_bytes"],
    ),
    BucketList: objectOf({ buckets: listOf(ref("BucketInfo")), count: COUNT, next_page_token: NEXT_PAGE }, [
      "next_page_token",
    ]),
    NewBucket: closed(objectOf({ name: field("CreateBucketRequest.name", TEXT), ...settings }, names)),
    BucketChange: closed(objectOf(settings, names)),
    KeyValue: objectOf({
      key: field("Entry.key", TEXT),
      value: described(BASE64, "The value's bytes in base64."),
      revision: field("Entry.revision", COUNT),
      created_at: field("Entry.created_at", TIME),
      operation: { const: "put" },
    }),
    Written: objectOf({ revision: field("PutResponse.revision", COUNT) }),
    KeyList: objectOf(
      {
        keys: described(listOf(TEXT), "Sorted by their UTF-8 bytes."),
        count: COUNT,
        next_page_token: NEXT_PAGE,
      },
      ["next_page_token"],
    ),
    KeyHistory: objectOf(
      {
        key: TEXT,
        entries: listOf(
          objectOf(
            {
              revision: field("Entry.revision", COUNT),
              operation: { type: "string", enum: ["put", "delete", "purge", "expire"] },
              value: described(BASE64, "The value's bytes in base64; empty for tombstones."),
              created_at: field("Entry.created_at", TIME),
              content_type: field("Entry.content_type", TEXT),
            },
            ["content_type"],
          ),
        ),
        count: COUNT,
        next_page_token: NEXT_PAGE,
      },
      ["next_page_token"],
    ),
    Compacted: objectOf({ removed: COUNT }),
    WatchFrame: {
      description: "What a watch sends, over WebSocket and SSE alike. An error is the last frame.",
      oneOf: [
        objectOf({
          type: { const: "kv_update" },
          key: TEXT,
          value: described(BASE64, "The value's bytes in base64; empty for deletes."),
          revision: COUNT,
          operation: { type: "string", enum: ["put", "delete"] },
          bucket: TEXT,
        }),
        objectOf({ type: { const: "error" }, message: TEXT }),
        objectOf({ type: { const: "snapshot_end" }, revision: COUNT, bucket: TEXT, bucket_created_at: TIME }),
        objectOf({ type: { const: "progress" }, revision: COUNT, bucket: TEXT, time: TIME }),
      ],
    },
  };
}

/** Forms by the method's full name. */
export const FORMS: Readonly<Record<string, Form>> = {
  "ironflow.kv.v1.BucketService.CreateBucket": {
    body: ref("NewBucket"),
    answers: {
      201: {
        description: "The bucket as it was made.",
        headers: { Location: "The bucket's path." },
        content: json("BucketInfo"),
      },
    },
  },
  "ironflow.kv.v1.BucketService.GetBucket": answer("The bucket.", "BucketInfo"),
  "ironflow.kv.v1.BucketService.ListBuckets": answer(
    "The buckets. Without `limit` and `page_token`: all of them.",
    "BucketList",
  ),
  "ironflow.kv.v1.BucketService.UpdateBucket": {
    body: ref("BucketChange"),
    ...answer("The bucket after the change.", "BucketInfo"),
  },
  "ironflow.kv.v1.BucketService.CompactBucket": answer("How many tombstones were removed.", "Compacted"),
  "ironflow.kv.v1.KeyValueService.Get": {
    parameters: {
      raw: [BOOLEAN, "Answer with the value's bytes, as `Accept: application/octet-stream` does."],
    },
    headers: {
      "If-None-Match": "ETags, revisions alone, or `*`: 304 where the key is at one of them.",
      "If-Match": "ETags, revisions alone, or `*`: 412 where the key is at none of them.",
    },
    answers: {
      200: {
        description:
          "The entry; or the value's bytes under the content type that was stored with them, where `raw` or `Accept` asks for these.",
        headers: ETAG,
        content: { ...json("KeyValue"), "*/*": {} },
      },
      304: { description: "The key is at what `If-None-Match` names.", headers: ETAG },
    },
    errors: { 412: "`revision_mismatch`: the key is at nothing that `If-Match` names." },
  },
  "ironflow.kv.v1.KeyValueService.Put": {
    headers: {
      "If-Match": IF_MATCH_OF_WRITE,
      "If-None-Match": "`*`: write only if the key has no value. Otherwise 412.",
      "Idempotency-Key": IDEMPOTENCY_KEY,
    },
    answers: {
      200: { description: "The value is written.", headers: ETAG, content: json("Written") },
    },
  },
  "ironflow.kv.v1.KeyValueService.Delete": {
    headers: { "If-Match": IF_MATCH_OF_WRITE, "Idempotency-Key": IDEMPOTENCY_KEY },
  },
  "ironflow.kv.v1.KeyValueService.ListKeys": {
    parameters: {
      filter: [TEXT, "Only keys that match one of these filters; repeatable. The same as `filters`."],
    },
    ...answer("The keys. Without `limit` and `page_token`: all of them.", "KeyList"),
  },
  "ironflow.kv.v1.KeyValueService.GetHistory": answer(
    "The revisions, oldest first. Without `limit` and `page_token`: all of them.",
    "KeyHistory",
  ),
  "ironflow.kv.v1.KeyValueService.Watch": {
    parameters: {
      key: [TEXT, "Only keys that match one of these filters; repeatable. The same as `filters`."],
      filter: [TEXT, "The same as `key`."],
      initial: [BOOLEAN, "false: only changes, without the present values."],
      snapshot_end: [BOOLEAN, "true: send a frame where the present values end."],
      progress: [
        { anyOf: [BOOLEAN, SPAN] },
        "true, or a span such as `5s`: send a frame at least that often.",
      ],
      ticket: [TEXT, "A ticket of `CreateWatchTicket`, for browsers, in place of a key."],
    },
    headers: { "Last-Event-ID": "The revision of the last event seen: SSE goes on after it." },
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

function ref(name: string): Json {
  return { $ref: `#/components/schemas/${name}` };
}

function json(name: string): Record<string, Json> {
  return { "application/json": ref(name) };
}

function answer(description: string, schema: string): Form {
  return { answers: { 200: { description, content: json(schema) } } };
}

/** An object that takes no other members. */
function closed(schema: Json): Json {
  return { ...schema, additionalProperties: false };
}
