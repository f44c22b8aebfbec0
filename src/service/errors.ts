/** What a failure looks like to a client: kind -> Connect code, with an `ErrorDetail`. The only such table. */
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorDetailSchema } from "../../gen/ironflow/kv/v1/types_pb.js";
import { KvError, type KvErrorKind } from "../kv/errors.js";
import { durationOf } from "./convert.js";

/** The code of each kind of failure. The HTTP status follows from it (protocol/rest/errors.ts). */
export const CODE_BY_KIND: Readonly<Record<KvErrorKind, Code>> = {
  invalid_argument: Code.InvalidArgument,
  reserved_name: Code.InvalidArgument,
  invalid_update_mask: Code.InvalidArgument,
  bucket_not_found: Code.NotFound,
  key_not_found: Code.NotFound,
  bucket_exists: Code.AlreadyExists,
  key_exists: Code.AlreadyExists,
  revision_mismatch: Code.Aborted,
  revision_compacted: Code.OutOfRange,
  revision_in_future: Code.OutOfRange,
  bucket_full: Code.ResourceExhausted,
  value_too_large: Code.ResourceExhausted,
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

/** What the client is told of a fault of ours: nothing but that it is one. The cause goes to the log. */
const OPAQUE_SENTENCE = "The service failed to answer this call; the fault is logged there.";

/** Takes what could not be foreseen: called once per unknown error, with its cause. */
export type FaultLog = (error: unknown) => void;

/** The error that a client sees. Everything that is not a KvError, or is `internal`, is logged and made opaque. */
export function toConnectError(error: unknown, onFault: FaultLog): ConnectError {
  if (error instanceof ConnectError) return error;
  if (error instanceof KvError && error.kind !== "internal") return connectErrorOf(error, error.message);
  onFault(error);
  return connectErrorOf(
    error instanceof KvError ? error : new KvError("internal", OPAQUE_SENTENCE),
    OPAQUE_SENTENCE,
  );
}

function connectErrorOf(error: KvError, sentence: string): ConnectError {
  const detail = create(ErrorDetailSchema, {
    reason: error.kind,
    bucket: error.bucket ?? "",
    key: error.key ?? "",
    revision: error.revision ?? 0n,
  });
  if (error.retryAfterMs !== undefined) detail.retryAfter = durationOf(error.retryAfterMs);
  return new ConnectError(sentence, CODE_BY_KIND[error.kind], undefined, [
    { desc: ErrorDetailSchema, value: detail },
  ]);
}
