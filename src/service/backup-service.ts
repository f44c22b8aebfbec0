/** The handlers of BackupService. Each checks the request, calls the store and converts the result. */
import { create } from "@bufbuild/protobuf";
import {
  type BackupService,
  type ImportedEntry as ImportedEntryMessage,
  ImportEntriesResponseSchema,
} from "../../gen/ironflow/kv/v1/backup_service_pb.js";
import { Operation } from "../../gen/ironflow/kv/v1/types_pb.js";
import { invalidArgument } from "../kv/errors.js";
import { quote } from "../kv/names.js";
import type { ImportedEntry } from "../kv/writes.js";
import type { Store } from "../kv/store.js";
import type { Handlers } from "./calls.js";
import { millisecondsOfTimestamp } from "./convert.js";

export function backupHandlers(store: Store): Handlers<typeof BackupService> {
  return {
    async importEntries(request, context) {
      const entries = request.entries.map(importedEntryOf);
      const result = await store.importEntries(request.bucket, request.afterRevision, entries, context);
      return create(ImportEntriesResponseSchema, result);
    },
  };
}

function importedEntryOf(entry: ImportedEntryMessage): ImportedEntry {
  const { key, value, operation, contentType, expiresAt, metadata } = entry;
  switch (operation) {
    case Operation.PUT:
      return {
        ...{ key, value, operation: "put", contentType, metadata },
        expiresAtMs: expiresAt && millisecondsOfTimestamp(expiresAt),
      };
    case Operation.DELETE:
      return { key, value, operation: "delete", contentType };
    case Operation.PURGE:
      return { key, value, operation: "purge", contentType };
    default:
      throw invalidArgument(
        `The operation of the entry of the key ${quote(key)} is ${operation as number}; it must be PUT, DELETE or PURGE.`,
      );
  }
}
