/** The JSON Schemas of the REST forms that do not follow from the contract: see forms.ts. */
import { configSchemas } from "./config-schemas.js";
import { linkOfReason } from "./errors-section.js";
import { BASE64, COUNT, described, type Json, listOf, objectOf, TEXT, TIME } from "./schemas.js";

/** Returns the comment of a contract field by its full name. */
export type Describe = (name: string) => string | undefined;

/** The members that only some entries have. */
const LASTING = ["expires_at", "metadata"];
const NEXT_PAGE = described(
  TEXT,
  "Send this as `page_token` to get the next page. Absent: this is the last page.",
);

/** The schemas that forms refer to by name. */
export function formSchemas(describe: Describe): Record<string, Json> {
  const field = (name: string, schema: Json): Json => described(schema, describe(`ironflow.kv.v1.${name}`));
  const superseded = field("WatchResponse.superseded", COUNT);
  const settings = {
    description: field("CreateBucketRequest.description", TEXT),
    ttl_seconds: described({ type: "integer", minimum: 0 }, "How long entries live, in seconds. 0: forever."),
    max_value_size: field("CreateBucketRequest.max_value_size", COUNT),
    max_bytes: field("CreateBucketRequest.max_bytes", COUNT),
    history: field("CreateBucketRequest.history", COUNT),
  };
  const names = Object.keys(settings);
  const lasting = {
    expires_at: field("Entry.expires_at", TIME),
    metadata: ref("Metadata"),
  };
  return {
    Metadata: described(
      { type: "object", additionalProperties: TEXT },
      "The metadata that was sent with the value. Absent: none.",
    ),
    Error: {
      description:
        "An error: the REST form of the contract's `ironflow.kv.v1.ErrorDetail`, which calls over gRPC and Connect get.",
      externalDocs: { description: "All reasons, and when to retry", url: linkOfReason("errors") },
      ...objectOf(
        {
          error: described(TEXT, "A message for people: what was wrong, and what would be right."),
          code: described(TEXT, "For programs: the reason. New ones may be added."),
          operation_index: field("ErrorDetail.operation_index", COUNT),
          key: described(TEXT, "With `operation_index`: the operation's key."),
          revision: described(COUNT, "With `operation_index`: the key's current revision; 0: it has none."),
        },
        ["operation_index", "key", "revision"],
      ),
    },
    BucketInfo: objectOf(
      {
        name: field("Bucket.name", TEXT),
        description: field("Bucket.description", TEXT),
        ttl_seconds: described({ type: "integer" }, "How long entries live, in seconds. Absent: forever."),
        max_value_size: described(
          COUNT,
          "The largest accepted value, in bytes. Absent: the service's limit.",
        ),
        max_bytes: described(COUNT, "The maximum size of the bucket in bytes. Absent: no limit."),
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
    KeyValue: objectOf(
      {
        key: field("Entry.key", TEXT),
        value: described(BASE64, "The value's bytes in base64."),
        revision: field("Entry.revision", COUNT),
        created_at: field("Entry.created_at", TIME),
        operation: { const: "put" },
        ...lasting,
      },
      LASTING,
    ),
    Written: objectOf({ revision: field("PutResponse.revision", COUNT) }),
    Committed: objectOf({
      revision: field("CommitResponse.revision", COUNT),
      revisions: field("CommitResponse.revisions", listOf(COUNT)),
    }),
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
              ...lasting,
            },
            ["content_type", ...LASTING],
          ),
        ),
        count: COUNT,
        next_page_token: NEXT_PAGE,
      },
      ["next_page_token"],
    ),
    EnvironmentList: listOf(objectOf({ id: described(TEXT, "The same as the name."), name: TEXT })),
    Compacted: objectOf({ removed: COUNT }),
    KeyBatch: closed(
      objectOf(
        {
          keys: field("BatchGetRequest.keys", listOf(TEXT)),
          revision: field("BatchGetRequest.revision", COUNT),
          consistency: described({ type: "string", enum: ["strong", "eventual"] }, "Default: strong."),
        },
        ["revision", "consistency"],
      ),
    ),
    KeyBatchResult: objectOf(
      {
        results: listOf(objectOf({ key: TEXT, entry: { anyOf: [ref("ListedEntry"), { type: "null" }] } })),
        revision: field("BatchGetResponse.revision", COUNT),
        unread_keys: described(
          listOf(TEXT),
          "The keys that did not fit into the response, in their order. Absent: every key has a result.",
        ),
      },
      ["unread_keys"],
    ),
    ...configSchemas(NEXT_PAGE),
    KeyDeletion: closed(
      objectOf(
        {
          filters: field("DeleteKeysRequest.filters", listOf(TEXT)),
          purge: field("DeleteKeysRequest.purge", { type: "boolean" }),
          limit: field("DeleteKeysRequest.limit", COUNT),
          page_token: field("DeleteKeysRequest.page_token", TEXT),
        },
        ["purge", "limit", "page_token"],
      ),
    ),
    KeyDeletionResult: objectOf(
      {
        deleted: field("DeleteKeysResponse.deleted", COUNT),
        skipped: field("DeleteKeysResponse.skipped", COUNT),
        revision: field("DeleteKeysResponse.revision", COUNT),
        remaining_max: field("DeleteKeysResponse.remaining_max", COUNT),
        next_page_token: described(TEXT, "Send this as `page_token` to continue. Absent: complete."),
      },
      ["remaining_max", "next_page_token"],
    ),
    ListedEntry: objectOf(
      {
        key: field("Entry.key", TEXT),
        value: described(BASE64, "The value's bytes in base64."),
        revision: field("Entry.revision", COUNT),
        created_at: field("Entry.created_at", TIME),
        operation: { const: "put" },
        content_type: field("Entry.content_type", TEXT),
        ...lasting,
      },
      ["content_type", ...LASTING],
    ),
    ScanLine: {
      description: "A line of a scan. Without a line with `end`, the response broke off.",
      anyOf: [
        ref("ListedEntry"),
        objectOf({
          end: { const: true },
          complete: field("ScanResponse.End.complete", { type: "boolean" }),
          revision: field("ScanResponse.revision", COUNT),
        }),
        ref("Error"),
      ],
    },
    WatchFrame: {
      description: "A frame of a watch, the same over WebSocket and SSE. An error is the last frame.",
      oneOf: [ref("WatchUpdate"), ref("WatchError"), ref("WatchSnapshotEnd"), ref("WatchProgress")],
      discriminator: {
        propertyName: "type",
        mapping: {
          kv_update: "#/components/schemas/WatchUpdate",
          error: "#/components/schemas/WatchError",
          snapshot_end: "#/components/schemas/WatchSnapshotEnd",
          progress: "#/components/schemas/WatchProgress",
        },
      },
    },
    WatchUpdate: objectOf(
      {
        type: { const: "kv_update" },
        key: TEXT,
        value: described(BASE64, "The value's bytes in base64; empty for deletes."),
        revision: COUNT,
        operation: { type: "string", enum: ["put", "delete"] },
        bucket: TEXT,
        commit_revision: field("WatchResponse.Change.commit_revision", COUNT),
        superseded,
        ...lasting,
      },
      ["commit_revision", "superseded", ...LASTING],
    ),
    WatchError: objectOf({ type: { const: "error" }, message: TEXT }),
    WatchSnapshotEnd: objectOf(
      {
        type: { const: "snapshot_end" },
        revision: COUNT,
        bucket: TEXT,
        bucket_created_at: TIME,
        superseded,
      },
      ["superseded"],
    ),
    WatchProgress: objectOf(
      { type: { const: "progress" }, revision: COUNT, bucket: TEXT, time: TIME, superseded },
      ["superseded"],
    ),
  };
}

export function ref(name: string): Json {
  return { $ref: `#/components/schemas/${name}` };
}

/** An object without additional members. */
function closed(schema: Json): Json {
  return { ...schema, additionalProperties: false };
}
