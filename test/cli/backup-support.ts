/** What the tests of backups share. */
import { createHash } from "node:crypto";
import type { BucketSettings, ImportedEntry, KeyValue } from "@ironflow-kv/client";
import { ChangeEvent } from "@ironflow-kv/client";

/** Everything that a restored bucket must have as it was: settings, and each kept entry in the order of revisions. */
export interface Contents {
  readonly settings: Required<BucketSettings>;
  readonly values: number;
  readonly entries: readonly string[];
}

/** An entry in a line. Values are compared by their hash: failures of a test are to be readable. */
export function lineOf({
  operation,
  key,
  value,
  contentType,
}: Omit<ImportedEntry, "operation"> & { operation: string }): string {
  const hash = createHash("sha256").update(value).digest("hex").slice(0, 16);
  return `${operation} ${JSON.stringify(key)} ${value.length} ${hash} ${contentType}`;
}

/** Reads a whole bucket. */
export async function contentsOf(kv: KeyValue, bucket: string): Promise<Contents> {
  const { description, ttlSeconds, maxValueSize, maxBytes, history, values } = await kv.getBucketInfo(bucket);
  const entries: string[] = [];
  for await (const event of kv.bucket(bucket).watch([], { start: "history", marks: true })) {
    if (!(event instanceof ChangeEvent)) break;
    entries.push(lineOf(event));
  }
  return { settings: { description, ttlSeconds, maxValueSize, maxBytes, history }, values, entries };
}

/** Fills a new bucket quickly: entries one after the other from revision 1 on. */
export async function fill(kv: KeyValue, bucket: string, entries: readonly ImportedEntry[]): Promise<void> {
  let revision = 0n;
  for (let at = 0; at < entries.length; at += 1_000) {
    ({ revision } = await kv.bucket(bucket).importEntries(entries.slice(at, at + 1_000), revision));
  }
}

export function put(key: string, value: string | Uint8Array, contentType = ""): ImportedEntry {
  return {
    key,
    value: typeof value === "string" ? Buffer.from(value) : value,
    operation: "put",
    contentType,
  };
}

export function numbered(count: number, valueBytes = 20): ImportedEntry[] {
  return Array.from({ length: count }, (_, index) =>
    put(`key.${index}`, Buffer.alloc(valueBytes, `value ${index} `)),
  );
}

export function tombstone(key: string): ImportedEntry {
  return { key, value: new Uint8Array(0), operation: "delete", contentType: "" };
}

/** Where the first record of a backup ends. */
export function headerEndOf(backup: Buffer): number {
  return frameEnd(backup, backup.indexOf("\n") + 1);
}

/** Whether two backups have the same buckets and entries. Their ids and times differ, and the sum of the whole with these. */
export function isSameBackup(one: Buffer, other: Buffer): boolean {
  return bodyOf(one).equals(bodyOf(other));
}

/** What stands between the header and the footer. */
function bodyOf(backup: Buffer): Buffer {
  const start = headerEndOf(backup);
  let footer = start;
  for (let at = start; at < backup.length; at = frameEnd(backup, at)) footer = at;
  return backup.subarray(start, footer);
}

function frameEnd(backup: Buffer, start: number): number {
  return start + 8 + backup.readUInt32BE(start);
}
