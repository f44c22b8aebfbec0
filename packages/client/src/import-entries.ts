/** Writes entries of another bucket. */
import { Operation as OperationEnum } from "../../../gen/ironflow/kv/v1/types_pb.js";
import { BackupService } from "../../../gen/ironflow/kv/v1/backup_service_pb.js";
import { metadataOf, timestampOf, wellFormed } from "./convert.js";
import type { Operation } from "./entry.js";
import { withJson } from "./json.js";
import type { CallOptions, RpcClient } from "./rpc-client.js";
import { encodeValue } from "./value.js";

/** An entry to import. Every {@link Entry} is valid except an expiry, which can't be written. */
export interface ImportedEntry {
  readonly key: string;
  /** Empty for deletes and purges. */
  readonly value: Uint8Array;
  readonly operation: Exclude<Operation, "expire">;
  /** Empty: none. */
  readonly contentType: string;
  /** When the value expires. If that is less than a second away, or over, the key is purged instead. Default: never. */
  readonly expiresAt?: Date | undefined;
  /** Default: none. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

/** The result of an import. */
export interface ImportResult {
  /** The number of entries that were written, at least 1: the first ones of the request. */
  readonly imported: number;
  /** The bucket's revision after the last written entry. */
  readonly revision: bigint;
}

const IMPORTED_OPERATION: Readonly<Record<ImportedEntry["operation"], OperationEnum>> = {
  put: OperationEnum.PUT,
  delete: OperationEnum.DELETE,
  purge: OperationEnum.PURGE,
};

/** See `Bucket.importEntries`. */
export async function importEntries(
  rpc: RpcClient,
  bucket: string,
  entries: readonly ImportedEntry[],
  afterRevision: bigint,
  options: CallOptions,
): Promise<ImportResult> {
  const request = {
    bucket,
    afterRevision,
    entries: entries.map(({ key, value, operation, contentType, expiresAt, metadata }) => ({
      key: wellFormed(key, "The key"),
      value: encodeValue(value, undefined).bytes,
      operation: IMPORTED_OPERATION[operation],
      contentType,
      ...(expiresAt === undefined ? {} : { expiresAt: timestampOf(expiresAt, "expiresAt") }),
      metadata: metadataOf(metadata),
    })),
  };
  const { imported, revision } = await rpc.unary(BackupService.method.importEntries, request, {
    ...options,
    reportsUnknownOutcome: true,
  });
  return withJson({ imported, revision });
}
