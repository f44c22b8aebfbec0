/** What the entry points for Node and for browsers have in common. */
export type { LeaseOptions } from "./acquire-lease.js";
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
export { Bucket } from "./bucket.js";
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
export {
  type Config,
  type ConfigData,
  type ConfigInfo,
  Configs,
  type ConfigSetOptions,
  type ConfigUpdate,
  type ConfigWatchOptions,
  type ConfigWriteOptions,
} from "./configs.js";
export type { Filters, Revision } from "./convert.js";
export type { DeleteKeysOptions, DeleteKeysProgress, DeleteKeysResult } from "./delete-keys.js";
export { Entry, type Operation } from "./entry.js";
export * from "./errors.js";
export type { ImportedEntry, ImportResult } from "./import-entries.js";
export {
  type BucketInfo,
  type BucketInfoOptions,
  type BucketSettings,
  type CreateBucketOptions,
  KeyValue,
} from "./key-value.js";
export { Lease } from "./lease.js";
export { Scan, type ScanOptions } from "./scan.js";
export type { RetryOptions } from "./retry.js";
export type { Http2Limits, Pem, TlsOptions, TransportOptions } from "./transport-options.js";
export type { ChangeGroup, WatchCommitsOptions } from "./watch-commits.js";
export type { Storable } from "./value.js";
export {
  ChangeEvent,
  type ProgressEvent,
  type SnapshotEndEvent,
  type Watch,
  type WatchEvent,
  type WatchOptions,
} from "./watch-events.js";
