/** The types of {@link Bucket.importEntries}. */
import { Operation as OperationEnum } from "../../../gen/ironflow/kv/v1/types_pb.js";
import type { Operation } from "./entry.js";

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

export const IMPORTED_OPERATION: Readonly<Record<ImportedEntry["operation"], OperationEnum>> = {
  put: OperationEnum.PUT,
  delete: OperationEnum.DELETE,
  purge: OperationEnum.PURGE,
};
