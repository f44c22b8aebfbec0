/** The largest request message of each method. */
import type { DescMethod } from "@bufbuild/protobuf";
import { KeyValueService } from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import type { Limits } from "../kv/limits.js";

export type MessageLimits = Pick<Limits, "messageBytesMax" | "commitBytesMax" | "commitOperationsMax">;

/** JSON carries values in base64. */
const BASE64_FACTOR = 4 / 3;
/** At most, the bytes of an operation of a commit besides its value, as JSON: its key with escapes, its content type, names of fields. */
const OPERATION_BYTES = 4_096;

/** In bytes, before and after decompression. */
export function messageBytesMaxOf(method: DescMethod, limits: MessageLimits): number {
  const { messageBytesMax, commitBytesMax, commitOperationsMax } = limits;
  if (method !== KeyValueService.method.commit) return messageBytesMax;
  const commitMax = Math.ceil(commitBytesMax * BASE64_FACTOR) + commitOperationsMax * OPERATION_BYTES;
  return Math.max(messageBytesMax, commitMax);
}
