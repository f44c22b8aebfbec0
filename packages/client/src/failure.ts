/** Maps transport errors to {@link KvError}. The only module of the SDK that interprets codes and broken connections. */
import { Code, ConnectError } from "@connectrpc/connect";
import { type ErrorDetail, ErrorDetailSchema } from "../../../gen/ironflow/kv/v1/types_pb.js";
import { dateOf, millisecondsOfDuration } from "./convert.js";
import {
  KvBucketExistsError,
  KvConflictError,
  KvError,
  type KvErrorCode,
  type KvErrorDetails,
  KvInvalidArgumentError,
  KvKeyExistsError,
  KvNotFoundError,
  KvOutOfRangeError,
  KvPermissionDeniedError,
  KvResourceExhaustedError,
  KvTimeoutError,
  KvUnauthenticatedError,
  KvUnavailableError,
  KvUnknownOutcomeError,
} from "./errors.js";
import { NotProcessedError, ResponseTooLargeError } from "./transport-errors.js";

/** The call that failed. */
export interface FailedCall {
  /** Whether repeating it is harmless: true for reads and methods that the contract marks idempotent. */
  readonly isIdempotent: boolean;
  readonly bucket?: string | undefined;
  readonly key?: string | undefined;
}

type KvErrorClass = new (message: string, details: KvErrorDetails) => KvError;

const NAME_BY_CODE: Readonly<Record<Code, KvErrorCode>> = {
  [Code.Canceled]: "canceled",
  [Code.Unknown]: "unknown",
  [Code.InvalidArgument]: "invalid_argument",
  [Code.DeadlineExceeded]: "deadline_exceeded",
  [Code.NotFound]: "not_found",
  [Code.AlreadyExists]: "already_exists",
  [Code.PermissionDenied]: "permission_denied",
  [Code.ResourceExhausted]: "resource_exhausted",
  [Code.FailedPrecondition]: "failed_precondition",
  [Code.Aborted]: "aborted",
  [Code.OutOfRange]: "out_of_range",
  [Code.Unimplemented]: "unimplemented",
  [Code.Internal]: "internal",
  [Code.Unavailable]: "unavailable",
  [Code.DataLoss]: "data_loss",
  [Code.Unauthenticated]: "unauthenticated",
};

const CLASS_BY_CODE: Readonly<Partial<Record<KvErrorCode, KvErrorClass>>> = {
  invalid_argument: KvInvalidArgumentError,
  deadline_exceeded: KvTimeoutError,
  not_found: KvNotFoundError,
  already_exists: KvKeyExistsError,
  permission_denied: KvPermissionDeniedError,
  resource_exhausted: KvResourceExhaustedError,
  aborted: KvConflictError,
  out_of_range: KvOutOfRangeError,
  unavailable: KvUnavailableError,
  unauthenticated: KvUnauthenticatedError,
};

/** Reasons with a class other than their code's. */
const CLASS_BY_REASON: ReadonlyMap<string, KvErrorClass> = new Map<string, KvErrorClass>([
  ["bucket_exists", KvBucketExistsError],
  ["outcome_unknown", KvUnknownOutcomeError],
]);

/** Limits that clear by themselves. A call that they refuse has no effect. */
const TRANSIENT_LIMITS: ReadonlySet<string> = new Set(["rate_limited", "too_many_watches", "slow_watcher"]);

/** Codes with which transports report a broken connection rather than a server's error. */
const BROKEN_CODES: ReadonlySet<Code> = new Set([Code.Canceled, Code.Aborted, Code.Unavailable]);

/** System calls before the first byte of a request is sent. */
const CONNECT_SYSCALLS: ReadonlySet<unknown> = new Set(["connect", "getaddrinfo"]);

/** Converts the error of a failed call. Returns a KvError unchanged. */
export function kvErrorOf(error: unknown, call: FailedCall): KvError {
  if (error instanceof KvError) return error;
  const connectError = ConnectError.from(error);
  const detail = connectError.findDetails(ErrorDetailSchema)[0];
  return detail === undefined ? transportError(connectError, call) : serviceError(connectError, detail);
}

/** An error that the service returned. */
function serviceError(error: ConnectError, detail: ErrorDetail): KvError {
  const code = NAME_BY_CODE[error.code];
  const ErrorClass = CLASS_BY_REASON.get(detail.reason) ?? CLASS_BY_CODE[code] ?? KvError;
  return new ErrorClass(error.rawMessage, {
    code,
    reason: detail.reason,
    bucket: detail.bucket === "" ? undefined : detail.bucket,
    key: detail.key === "" ? undefined : detail.key,
    revision: detail.revision === 0n ? undefined : detail.revision,
    operationIndex: detail.operationIndex,
    retryable: code === "unavailable" || code === "deadline_exceeded" || TRANSIENT_LIMITS.has(detail.reason),
    retryAfterMs: detail.retryAfter && millisecondsOfDuration(detail.retryAfter),
    storageTime: detail.storageTime && dateOf(detail.storageTime),
    idempotencyWindowMs: detail.idempotencyWindow && millisecondsOfDuration(detail.idempotencyWindow),
    cause: error,
  });
}

/** An error of the transport: a timeout, a broken connection, or an intermediary's response. */
function transportError(error: ConnectError, call: FailedCall): KvError {
  const context = { bucket: call.bucket, key: call.key, cause: error };
  if (error.code === Code.DeadlineExceeded) {
    return call.isIdempotent
      ? new KvTimeoutError("The call reached its time limit before the service answered.", {
          ...context,
          code: "deadline_exceeded",
          reason: "timed_out",
          retryable: true,
        })
      : unknownOutcome("The call reached its time limit before the service answered", context);
  }
  if (error.cause instanceof ResponseTooLargeError) {
    return new KvResourceExhaustedError(error.rawMessage, {
      ...context,
      code: "resource_exhausted",
      reason: "response_too_large",
    });
  }
  if (neverProcessed(error.cause)) {
    return new KvUnavailableError(`The service can't be reached: ${rootMessage(error)}.`, {
      ...context,
      code: "unavailable",
      reason: "connection_failed",
      retryable: true,
    });
  }
  if (error.cause !== undefined || BROKEN_CODES.has(error.code)) {
    return call.isIdempotent
      ? new KvUnavailableError(`The connection to the service broke: ${rootMessage(error)}.`, {
          ...context,
          code: "unavailable",
          reason: "connection_lost",
          retryable: true,
        })
      : unknownOutcome(`The connection to the service broke (${rootMessage(error)})`, context);
  }
  if (error.code === Code.Unknown && !call.isIdempotent) {
    return unknownOutcome(`The response is not from ironflow-kv (${error.rawMessage})`, context);
  }
  const code = NAME_BY_CODE[error.code];
  const ErrorClass = CLASS_BY_CODE[code] ?? KvError;
  return new ErrorClass(`The response is not from ironflow-kv: ${error.rawMessage}.`, { ...context, code });
}

function unknownOutcome(event: string, context: Omit<KvErrorDetails, "code">): KvUnknownOutcomeError {
  return new KvUnknownOutcomeError(
    `${event}; whether the change was made is unknown. Read before you retry.`,
    { ...context, code: "unknown", reason: "outcome_unknown" },
  );
}

/**
 * True if the server certainly did not process the request: there was no connection, or HTTP/2 refused the stream. Only Node reports this: a
 * browser's fetch reports any failure the same way, which counts as a broken connection.
 */
function neverProcessed(cause: unknown): boolean {
  return causes(cause).some((error) => {
    const { code, syscall } = error as { code?: unknown; syscall?: unknown };
    return (
      error instanceof NotProcessedError ||
      CONNECT_SYSCALLS.has(syscall) ||
      code === "ECONNREFUSED" ||
      code === "UND_ERR_CONNECT_TIMEOUT"
    );
  });
}

/** The innermost cause's message, which is more specific than `fetch failed`. */
function rootMessage(error: ConnectError): string {
  const last = causes(error.cause).at(-1);
  if (last === undefined) return error.rawMessage;
  const { code } = last as { code?: unknown };
  return last.message === "" && typeof code === "string" ? code : last.message;
}

/** An error and its causes, outermost first. */
function causes(outermost: unknown): readonly Error[] {
  const chain: Error[] = [];
  let cause = outermost;
  while (cause instanceof Error && !chain.includes(cause)) {
    chain.push(cause);
    cause = cause.cause;
  }
  return chain;
}
