/** What the entry points for Node and for browsers have in common. */
export {
  type Access,
  type ApiKeyInfo,
  ApiKeys,
  type ApiKeyScope,
  type CreateApiKeyOptions,
  type NewApiKey,
  type WatchTicket,
} from "./api-keys.js";
export {
  type AtomicDeleteOptions,
  AtomicOperation,
  type AtomicPutOptions,
  type CommitResult,
} from "./atomic-operation.js";
export { Bucket, type Filters } from "./bucket.js";
export type {
  DeleteOptions,
  GetOptions,
  ManyEntries,
  PutOptions,
  ReadOptions,
  TouchOptions,
  WriteOptions,
  WriteResult,
} from "./bucket-options.js";
export type { CallOptions } from "./rpc-client.js";
export type { Client, ClientOptions } from "./client.js";
export type { Revision } from "./convert.js";
export { Entry, type Operation } from "./entry.js";
export * from "./errors.js";
export type { ImportedEntry, ImportResult } from "./imported-entry.js";
export {
  type BucketInfo,
  type BucketInfoOptions,
  type BucketSettings,
  type CreateBucketOptions,
  KeyValue,
} from "./key-value.js";
export { Lease, type LeaseOptions } from "./lease.js";
export { Scan, type ScanOptions } from "./scan.js";
export type { RetryOptions } from "./retry.js";
export type { Http2Limits, Pem, TlsOptions, TransportOptions } from "./transport-options.js";
export type { Storable } from "./value.js";
export {
  ChangeEvent,
  type ProgressEvent,
  type SnapshotEndEvent,
  type Watch,
  type WatchEvent,
  type WatchOptions,
} from "./watch-events.js";
