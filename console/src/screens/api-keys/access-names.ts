/** The kinds of access, in words. */
import { Access } from "@ironflow-kv/client/gen";

export const ACCESSES = [
  [Access.READ, "Read", "get and list keys, see their history"],
  [Access.WRITE, "Write", "put and delete keys"],
  [Access.WATCH, "Watch", "follow changes"],
  [Access.ADMIN, "Admin", "create, change, compact and delete buckets; on * also manage API keys"],
] as const;

export function accessName(access: Access): string {
  return ACCESSES.find(([one]) => one === access)?.[1] ?? "unknown";
}
