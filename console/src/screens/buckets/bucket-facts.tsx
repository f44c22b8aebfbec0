/** What a bucket is: its settings and sizes, as people read them. */
import { Durability, type Bucket } from "@ironflow-kv/client/gen";
import type { JSX } from "react";
import type { KeyCount } from "../../api/bucket-queries.js";
import { formatBytes, formatCount, formatSeconds } from "../../ui/format.js";

export function ttlOf({ ttl }: Bucket): string {
  return ttl === undefined ? "forever" : formatSeconds(Number(ttl.seconds) + ttl.nanos / 1e9);
}

export function revisionsOf({ history }: Bucket): string {
  return history === 1 ? "1 revision" : `${history} revisions`;
}

export const DURABILITIES: Readonly<Record<Durability, string>> = {
  [Durability.UNSPECIFIED]: "unknown",
  [Durability.SYNCED]: "on disk before each answer",
  [Durability.RELAXED]: "a power failure may lose the last writes",
  [Durability.UNKNOWN]: "as the external server is configured",
};

export interface BucketFactsProps {
  readonly bucket: Bucket;
  readonly keys: KeyCount;
}

export function BucketFacts({ bucket, keys }: BucketFactsProps): JSX.Element {
  const { bytes, maxBytes, maxValueSize, revision, replicas, durability } = bucket;
  const facts: readonly (readonly [string, string])[] = [
    ["Keys", keys === undefined ? "being counted" : formatCount(keys)],
    ["Size", maxBytes === 0n ? formatBytes(bytes) : `${formatBytes(bytes)} of ${formatBytes(maxBytes)}`],
    ["Entries live", ttlOf(bucket)],
    ["History", revisionsOf(bucket)],
    ["Largest value", maxValueSize === 0 ? "service limit" : formatBytes(maxValueSize)],
    ["Revision", formatCount(revision)],
    ...(replicas > 1 ? [["Replicas", String(replicas)] as const] : []),
    ["Writes", DURABILITIES[durability]],
  ];
  return (
    <dl className="facts" aria-label={`Facts of ${bucket.name}`}>
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd className="number">{value}</dd>
        </div>
      ))}
    </dl>
  );
}
