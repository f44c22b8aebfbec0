/** Converts stored JetStream messages to entries (ADR-8). */
import { unescapeKey } from "../../kv/names.js";
import type { Entry, Operation } from "../../kv/entry.js";
import type { HeaderLookup } from "../client/messages.js";
import { LIFETIME_HEADER, ownExpiryMs } from "./lifetime.js";
import { decodeMetadata, METADATA_HEADER } from "./metadata.js";

/** `DEL` or `PURGE` on tombstones; absent on values. ADR-8. */
export const OPERATION_HEADER = "KV-Operation";
/** `MaxAge`, `Purge` or `Remove` on markers that the server writes. ADR-43. */
export const MARKER_REASON_HEADER = "Nats-Marker-Reason";
/** The media type that was sent with Put. */
export const CONTENT_TYPE_HEADER = "Content-Type";
/** On each write of a commit: how many writes of the commit follow it, at the next sequences. */
export const COMMIT_HEADER = "Ironflow-Commit";

const NO_BYTES = new Uint8Array(0);

/** A stored message whose key is not unescaped yet. */
export interface StoredRecord {
  /** The key in its stored form: the subject without the bucket's prefix. */
  readonly storedKey: string;
  readonly data: Uint8Array;
  readonly headers: HeaderLookup | undefined;
  readonly revision: bigint;
  readonly timeMs: number;
  readonly timeNanos: number;
}

/** The operation in a message's headers. */
export function operationOf(headers: HeaderLookup | undefined): Operation {
  if (headers === undefined) return "put";
  switch (headers.get(OPERATION_HEADER)) {
    case "DEL":
      return "delete";
    case "PURGE":
      return "purge";
  }
  switch (headers.get(MARKER_REASON_HEADER)) {
    case "":
      return "put";
    case "MaxAge":
      return "expire";
    default:
      return "purge";
  }
}

/** The media type in a value's headers; undefined where they have more of what an entry shows. */
export function onlyContentTypeOf(headers: HeaderLookup): string | undefined {
  for (const name of [LIFETIME_HEADER, METADATA_HEADER, COMMIT_HEADER])
    if (headers.get(name) !== "") return undefined;
  return headers.get(CONTENT_TYPE_HEADER);
}

/** The entry of a message; undefined if its subject is not the stored form of a key. */
export function entryOf(record: StoredRecord): Entry | undefined {
  const key = unescapeKey(record.storedKey);
  return key === undefined ? undefined : entryOfKey(key, record);
}

/** The entry of a message whose key is known. */
export function entryOfKey(key: string, record: Omit<StoredRecord, "storedKey">): Entry {
  const { headers, timeMs } = record;
  const operation = operationOf(headers);
  const isPut = operation === "put";
  const commitRevision = commitRevisionOf(record);
  return {
    key,
    value: isPut ? record.data : NO_BYTES,
    revision: record.revision,
    createdAtMs: timeMs,
    createdAtNanos: record.timeNanos,
    operation,
    contentType: headers?.get(CONTENT_TYPE_HEADER) ?? "",
    expiresAtMs: isPut ? ownExpiryMs(headers, timeMs) : undefined,
    metadata: isPut ? decodeMetadata(headers?.get(METADATA_HEADER) ?? "") : undefined,
    ...(commitRevision === undefined ? {} : { commitRevision }),
  };
}

/** The entry of a put that has nothing beside its value but a media type. */
export function plainEntry(
  key: string,
  { data, revision, timeMs, timeNanos }: Omit<StoredRecord, "storedKey" | "headers">,
  contentType: string,
): Entry {
  return {
    key,
    value: data,
    revision,
    createdAtMs: timeMs,
    createdAtNanos: timeNanos,
    operation: "put",
    contentType,
    expiresAtMs: undefined,
    metadata: undefined,
  };
}

/** The revision of the last write of the commit that a write belongs to; undefined: it belongs to none. */
export function commitRevisionOf({
  headers,
  revision,
}: Pick<StoredRecord, "headers" | "revision">): bigint | undefined {
  const following = headers?.get(COMMIT_HEADER) ?? "";
  return /^\d{1,4}$/.test(following) ? revision + BigInt(following) : undefined;
}
