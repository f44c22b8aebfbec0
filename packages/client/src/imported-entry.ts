/** What an import writes, and how far it came. */
import { Operation as OperationEnum } from "../../../gen/ironflow/kv/v1/types_pb.js";
import type { Operation } from "./entry.js";

/** An entry to write as it stood in another bucket. An {@link Entry} will do, unless it tells of an expiry: that can't be written. */
export interface ImportedEntry {
  readonly key: string;
  /** Empty for deletes and purges. */
  readonly value: Uint8Array;
  readonly operation: Exclude<Operation, "expire">;
  /** Empty: none. */
  readonly contentType: string;
}

/** How far an import came. */
export interface ImportResult {
  /** How many of the entries were written, from the first on: at least 1. */
  readonly imported: number;
  /** The bucket's revision after the last of them. */
  readonly revision: bigint;
}

export const IMPORTED_OPERATION: Readonly<Record<ImportedEntry["operation"], OperationEnum>> = {
  put: OperationEnum.PUT,
  delete: OperationEnum.DELETE,
  purge: OperationEnum.PURGE,
};
