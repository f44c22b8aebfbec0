/** The largest request message of each method, and the error of a larger one. */
import type { DescMethod } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { KeyValueService } from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import type { Limits } from "../kv/limits.js";
import { messageTooLarge } from "../service/errors.js";

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

/** The limit of one method. */
export interface MessageLimit {
  readonly bytesMax: number;
  /** Creates the error of a message that is larger. */
  readonly tooLarge: () => ConnectError;
}

export function messageLimitOf(method: DescMethod, limits: MessageLimits): MessageLimit {
  const bytesMax = messageBytesMaxOf(method, limits);
  return {
    bytesMax,
    // Other contracts do not know our detail.
    tooLarge: () =>
      isOurs(method)
        ? messageTooLarge(bytesMax)
        : new ConnectError(`message is larger than ${bytesMax} bytes`, Code.ResourceExhausted),
  };
}

/** Whether errors of the method have our detail. */
export function isOurs(method: DescMethod): boolean {
  return method.parent.file.proto.package === KeyValueService.file.proto.package;
}
