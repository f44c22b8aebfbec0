/** Converts errors to Connect errors with an `ErrorDetail`. The only mapping from error kinds to codes. */
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorDetailSchema } from "../../gen/ironflow/kv/v1/types_pb.js";
import { KvError, type KvErrorKind } from "../kv/errors.js";
import { splitBucketName } from "../kv/names.js";
import { durationOf, timestampOf } from "./convert.js";

/** The code of each error kind. The HTTP status is derived from it (protocol/rest/errors.ts). */
export const CODE_BY_KIND: Readonly<Record<KvErrorKind, Code>> = {
  invalid_argument: Code.InvalidArgument,
  reserved_name: Code.InvalidArgument,
  invalid_update_mask: Code.InvalidArgument,
  bucket_not_found: Code.NotFound,
  key_not_found: Code.NotFound,
  api_key_not_found: Code.NotFound,
  bucket_exists: Code.AlreadyExists,
  key_exists: Code.AlreadyExists,
  revision_mismatch: Code.Aborted,
  idempotency_key_reused: Code.FailedPrecondition,
  ttl_not_supported: Code.FailedPrecondition,
  commit_unsupported: Code.FailedPrecondition,
  revision_compacted: Code.OutOfRange,
  revision_in_future: Code.OutOfRange,
  bucket_full: Code.ResourceExhausted,
  value_too_large: Code.ResourceExhausted,
  body_too_large: Code.ResourceExhausted,
  answer_too_large: Code.ResourceExhausted,
  storage_exhausted: Code.ResourceExhausted,
  too_many_watches: Code.ResourceExhausted,
  slow_watcher: Code.ResourceExhausted,
  rate_limited: Code.ResourceExhausted,
  unauthenticated: Code.Unauthenticated,
  permission_denied: Code.PermissionDenied,
  unavailable: Code.Unavailable,
  shutting_down: Code.Unavailable,
  deadline_exceeded: Code.DeadlineExceeded,
  canceled: Code.Canceled,
  outcome_unknown: Code.Unknown,
  unimplemented: Code.Unimplemented,
  internal: Code.Internal,
};

/** The message of an internal error. It refers to the log, which has the cause. */
export function internalErrorMessage(requestId: string | undefined): string {
  return requestId === undefined
    ? "Internal error. The service's log has the cause."
    : `Internal error. The service's log has the cause, with the request ID ${requestId}.`;
}

/** Called once per unexpected error, with its cause. */
export type FaultLog = (error: unknown) => void;

/** The error that a client sees. Logs errors of kind `internal`, or that are not a KvError, and hides their message. */
export function toConnectError(
  error: unknown,
  requestId: string | undefined,
  onFault: FaultLog,
): ConnectError {
  if (error instanceof ConnectError) return error;
  if (error instanceof KvError && error.kind !== "internal") return connectErrorOf(error, error.message);
  onFault(error);
  const message = internalErrorMessage(requestId);
  return connectErrorOf(error instanceof KvError ? error : new KvError("internal", message), message);
}

/** The error of a request whose message exceeds the limit. */
export function messageTooLarge(bytesMax: number): ConnectError {
  const message = `The message is too large; at most ${bytesMax} bytes are allowed.`;
  return connectErrorOf(new KvError("body_too_large", message), message);
}

function connectErrorOf(error: KvError, message: string): ConnectError {
  const detail = create(ErrorDetailSchema, {
    reason: error.kind,
    bucket: splitBucketName(error.bucket ?? "").name,
    key: error.key ?? "",
    revision: error.revision ?? 0n,
  });
  if (error.bucketCreatedAtMs !== undefined) detail.bucketCreatedAt = timestampOf(error.bucketCreatedAtMs, 0);
  if (error.operationIndex !== undefined) detail.operationIndex = error.operationIndex;
  if (error.retryAfterMs !== undefined) detail.retryAfter = durationOf(error.retryAfterMs);
  if (error.idempotencyWindowMs !== undefined) {
    detail.idempotencyWindow = durationOf(error.idempotencyWindowMs);
  }
  if (error.storageTimeMs !== undefined) detail.storageTime = timestampOf(error.storageTimeMs, 0);
  return new ConnectError(message, CODE_BY_KIND[error.kind], retryHeader(error.retryAfterMs), [
    { desc: ErrorDetailSchema, value: detail },
  ]);
}

/** The `retry-after` header in Connect, or trailer in gRPC. REST derives its own from the detail. */
function retryHeader(retryAfterMs: number | undefined): Record<string, string> | undefined {
  return retryAfterMs === undefined ? undefined : { "retry-after": String(Math.ceil(retryAfterMs / 1_000)) };
}
