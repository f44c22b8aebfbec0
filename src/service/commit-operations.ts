/** Converts the operations of a commit. */
import type {
  CommitRequest_Check,
  CommitRequest_Operation,
} from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { invalidArgument, KvError, withDetails } from "../kv/errors.js";
import type { CommitOperation } from "../kv/writes.js";
import { conditionOf } from "./conditions.js";
import { ttlMsOf } from "./convert.js";

/** Throws `invalid_argument`, with the operation's position. */
export function commitOperationOf({ operation }: CommitRequest_Operation, index: number): CommitOperation {
  try {
    return convert(operation);
  } catch (error) {
    throw error instanceof KvError ? withDetails(error, { operationIndex: index }) : error;
  }
}

function convert(operation: CommitRequest_Operation["operation"]): CommitOperation {
  switch (operation.case) {
    case undefined:
      throw invalidArgument("The operation is empty; it must be a check, a put or a delete.");
    case "check":
      return checkOf(operation.value);
    case "put": {
      const { key, value, contentType, precondition, ttl, metadata } = operation.value;
      if (precondition?.ifBucketCreatedAt !== undefined) {
        throw invalidArgument(
          "if_bucket_created_at is set in the precondition of an operation; set it in the commit instead.",
        );
      }
      const condition = conditionOf(precondition);
      return { type: "put", key, value, options: { contentType, condition, ttlMs: ttlMsOf(ttl), metadata } };
    }
    case "delete": {
      const { key, purge, ifRevision } = operation.value;
      return { type: "delete", key, purge, condition: ifRevision === 0n ? "always" : { ifRevision } };
    }
  }
}

function checkOf({ key, filter, condition }: CommitRequest_Check): CommitOperation {
  switch (condition.case) {
    case undefined:
      throw invalidArgument("The check has no condition; set revision, absent or unchanged_since.");
    case "revision":
      checkNames(key, filter, "revision");
      if (condition.value === 0n) {
        throw invalidArgument("The revision of the check is 0; it must be 1 or more, or set absent.");
      }
      return { type: "check", key, condition: { ifRevision: condition.value } };
    case "absent":
      checkNames(key, filter, "absent");
      if (!condition.value)
        throw invalidArgument("absent is false; set it to true, or set another condition.");
      return { type: "check", key, condition: "if_absent" };
    case "unchangedSince":
      if (key !== "") {
        throw invalidArgument("The check has a key and unchanged_since; unchanged_since takes a filter.");
      }
      return { type: "check_unchanged", filter, since: condition.value };
  }
}

function checkNames(key: string, filter: string, condition: string): void {
  if (filter !== "") {
    throw invalidArgument(`The check has a filter and ${condition}; ${condition} takes a key.`);
  }
  if (key === "") throw invalidArgument("The check has no key.");
}
