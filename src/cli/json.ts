/** The JSON that `--json` prints: the same as in the REST API, so scripts can switch between the two. */
import type { BucketInfo, Entry } from "@ironflow-kv/client";

type Json = Readonly<Record<string, unknown>>;

/** As in the response to GET .../buckets/{bucket}. */
export function bucketJson(info: BucketInfo): Json {
  return {
    name: info.name,
    ...(info.description === "" ? {} : { description: info.description }),
    ...(info.ttlSeconds === 0 ? {} : { ttl_seconds: info.ttlSeconds }),
    ...(info.maxValueSize === 0 ? {} : { max_value_size: info.maxValueSize }),
    ...(info.maxBytes === 0 ? {} : { max_bytes: info.maxBytes }),
    values: info.values,
    bytes: info.bytes,
    history: info.history,
    created_at: info.createdAt.toISOString(),
    revision: Number(info.revision),
    replicas: info.replicas,
    storage: info.storage,
    durability: info.durability,
  };
}

/** As in the response to GET .../keys/{key}, plus the media type. */
export function entryJson(entry: Entry): Json {
  return {
    key: entry.key,
    value: Buffer.from(entry.value).toString("base64"),
    revision: Number(entry.revision),
    created_at: entry.createdAt.toISOString(),
    operation: entry.operation,
    ...(entry.contentType === "" ? {} : { content_type: entry.contentType }),
    ...(entry.expiresAt === undefined ? {} : { expires_at: entry.expiresAt.toISOString() }),
    ...(Object.keys(entry.metadata).length === 0 ? {} : { metadata: entry.metadata }),
  };
}
