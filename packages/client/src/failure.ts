/** Maps transport errors to {@link KvError}. The only module of the SDK that interprets codes and broken connections. */
import { Code, ConnectError } from "@connectrpc/connect";
import { type ErrorDetail, ErrorDetailSchema } from "../../../gen/ironflow/kv/v1/types_pb.js";
import { dateOf, millisecondsOfDuration } from "./convert.js";
import {
  KvBucketExistsError,
  KvConflictError,
  KvError,
  type KvErrorCode,
  type KvErrorFacts,
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

/** What the mapping needs to know about a call. */
export interface FailedCall {
  /** Whether repeating it is harmless: true for reads and methods that the contract marks idempotent. */
  readonly isIdempotent: boolean;
  readonly bucket?: string | undefined;
  readonly key?: string | undefined;
}

type KvErrorClass = new (sentence: string, facts: KvErrorFacts) => KvError;

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

/** Transient limits; a call refused by one had no effect. */
const PASSING_LIMITS: ReadonlySet<string> = new Set(["rate_limited", "too_many_watches", "slow_watcher"]);

/** Codes with which transports report a broken connection rather than a server's error. */
const BROKEN_CODES: ReadonlySet<Code> = new Set([Code.Canceled, Code.Aborted, Code.Unavailable]);

/** System calls that precede the first byte of a request. */
const CONNECTING: ReadonlySet<unknown> = new Set(["connect", "getaddrinfo"]);

/** The KvError of a failed call. Returns a KvError unchanged. */
export function kvErrorOf(error: unknown, call: FailedCall): KvError {
  if (error instanceof KvError) return error;
  const connectError = ConnectError.from(error);
  const detail = connectError.findDetails(ErrorDetailSchema)[0];
  return detail === undefined ? withoutDetail(connectError, call) : withDetail(connectError, detail);
}

/** An error of the service itself, passed on unchanged. */
function withDetail(error: ConnectError, detail: ErrorDetail): KvError {
  const code = NAME_BY_CODE[error.code];
  const ErrorClass = CLASS_BY_REASON.get(detail.reason) ?? CLASS_BY_CODE[code] ?? KvError;
  return new ErrorClass(error.rawMessage, {
    code,
    reason: detail.reason,
    bucket: detail.bucket === "" ? undefined : detail.bucket,
    key: detail.key === "" ? undefined : detail.key,
    revision: detail.revision === 0n ? undefined : detail.revision,
    retryable: code === "unavailable" || code === "deadline_exceeded" || PASSING_LIMITS.has(detail.reason),
    retryAfterMs: detail.retryAfter && millisecondsOfDuration(detail.retryAfter),
    storageTime: detail.storageTime && dateOf(detail.storageTime),
    idempotencyWindowMs: detail.idempotencyWindow && millisecondsOfDuration(detail.idempotencyWindow),
    cause: error,
  });
}

/** Not an error of the service: a timeout, a broken connection, or an intermediary's response. */
function withoutDetail(error: ConnectError, call: FailedCall): KvError {
  const place = { bucket: call.bucket, key: call.key, cause: error };
  if (error.code === Code.DeadlineExceeded) {
    return call.isIdempotent
      ? new KvTimeoutError("The call reached its time limit before the service answered.", {
          ...place,
          code: "deadline_exceeded",
          reason: "timed_out",
          retryable: true,
        })
      : unknownOutcome("The call reached its time limit before the service answered", place);
  }
  if (neverConnected(error.cause)) {
    return new KvUnavailableError(`The service can't be reached: ${rootMessage(error)}.`, {
      ...place,
      code: "unavailable",
      reason: "connection_failed",
      retryable: true,
    });
  }
  if (error.cause !== undefined || BROKEN_CODES.has(error.code)) {
    return call.isIdempotent
      ? new KvUnavailableError(`The connection to the service broke: ${rootMessage(error)}.`, {
          ...place,
          code: "unavailable",
          reason: "connection_lost",
          retryable: true,
        })
      : unknownOutcome(`The connection to the service broke (${rootMessage(error)})`, place);
  }
  if (error.code === Code.Unknown && !call.isIdempotent) {
    return unknownOutcome(`The response is not from ironflow-kv (${error.rawMessage})`, place);
  }
  const code = NAME_BY_CODE[error.code];
  const ErrorClass = CLASS_BY_CODE[code] ?? KvError;
  return new ErrorClass(`The response is not from ironflow-kv: ${error.rawMessage}.`, { ...place, code });
}

function unknownOutcome(what: string, place: Omit<KvErrorFacts, "code">): KvUnknownOutcomeError {
  return new KvUnknownOutcomeError(
    `${what}; whether the change was made is unknown. Read before you retry.`,
    { ...place, code: "unknown", reason: "outcome_unknown" },
  );
}

/**
 * Whether the connection was never established, which means that nothing was sent. Only Node reports this; a browser's fetch only reports
 * a failure, which counts as a broken connection.
 */
function neverConnected(cause: unknown): boolean {
  return causes(cause).some((error) => {
    const { code, syscall } = error as { code?: unknown; syscall?: unknown };
    return CONNECTING.has(syscall) || code === "ECONNREFUSED" || code === "UND_ERR_CONNECT_TIMEOUT";
  });
}

/** The innermost message: the cause of `fetch failed` says more. */
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
