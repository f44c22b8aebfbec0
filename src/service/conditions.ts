/** The condition of a write in a request. */
import type { Precondition } from "../../gen/ironflow/kv/v1/types_pb.js";
import { invalidArgument } from "../kv/errors.js";
import type { Condition } from "../kv/writes.js";

/** Throws `invalid_argument`. */
export function conditionOf(precondition: Precondition | undefined): Condition {
  const condition = precondition?.condition;
  switch (condition?.case) {
    case undefined:
      return "always";
    case "ifAbsent":
      if (!condition.value)
        throw invalidArgument("if_absent is false; set it to true, or omit it to write unconditionally.");
      return "if_absent";
    case "ifRevision":
      if (condition.value === 0n) {
        throw invalidArgument("if_revision is 0; it must be 1 or more. To create a key, set if_absent.");
      }
      return { ifRevision: condition.value };
  }
}
