/** The types of an import. */
import { Operation as OperationEnum } from "../../../gen/ironflow/kv/v1/types_pb.js";
import type { Operation } from "./entry.js";

/** An entry of another bucket to write. An {@link Entry} is valid, unless it is an expiry, which can't be written. */
export interface ImportedEntry {
  readonly key: string;
  /** Empty for deletes and purges. */
  readonly value: Uint8Array;
  readonly operation: Exclude<Operation, "expire">;
  /** Empty: none. */
  readonly contentType: string;
}

/** The result of an import. */
export interface ImportResult {
  /** How many entries were written, counted from the first: at least 1. */
  readonly imported: number;
  /** The bucket's revision after the last written entry. */
  readonly revision: bigint;
}

export const IMPORTED_OPERATION: Readonly<Record<ImportedEntry["operation"], OperationEnum>> = {
  put: OperationEnum.PUT,
  delete: OperationEnum.DELETE,
  purge: OperationEnum.PURGE,
};
