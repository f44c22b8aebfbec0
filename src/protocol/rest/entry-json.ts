/** Entries as items of lists and lines, in JSON. */
import { type Entry, Operation } from "../../../gen/ironflow/kv/v1/types_pb.js";
import type { LargeValues } from "../large-values.js";
import { entryMembers } from "./entry-fields.js";
import { writeTime } from "./json.js";

export const OPERATION_NAMES: Readonly<Record<Operation, string>> = {
  [Operation.UNSPECIFIED]: "put",
  [Operation.PUT]: "put",
  [Operation.DELETE]: "delete",
  [Operation.PURGE]: "purge",
  [Operation.EXPIRE]: "expire",
};

/** A key with its revision. */
export function keyJson({ key, revision, createdAt }: Entry): string {
  const time = createdAt === undefined ? "" : writeTime(createdAt);
  return `{"key":${JSON.stringify(key)},"revision":${revision},"created_at":"${time}"}`;
}

/** An entry with its media type, as an item of a list. */
export function entryJson(entry: Entry, large: LargeValues): string {
  const createdAt = entry.createdAt === undefined ? "" : writeTime(entry.createdAt);
  const type = entry.contentType === "" ? "" : `,"content_type":${JSON.stringify(entry.contentType)}`;
  return `{"key":${JSON.stringify(entry.key)},"value":"${large.base64(entry.value)}","revision":${entry.revision},"created_at":"${createdAt}","operation":"${OPERATION_NAMES[entry.operation]}"${type}${entryMembers(entry)}}`;
}
