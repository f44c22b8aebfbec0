/**
 * Maps errors to HTTP responses: status, headers, and `{"error": "<sentence>", "code": "<code>"}`. If an operation of a commit caused the
 * error, the object also has its `operation_index`, and its `key` and that key's `revision`.
 */
import { type Duration, timestampMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { codeToString } from "@connectrpc/connect/protocol-connect";
import { type ErrorDetail, ErrorDetailSchema } from "../../../gen/ironflow/kv/v1/types_pb.js";
import { internalErrorMessage } from "../../service/errors.js";
import type { Exchange, Fields } from "../exchange.js";
import { send } from "../send.js";
import { entityTag } from "./entity-tag.js";
import { type JsonShape, writeJson } from "./json.js";

/** An error as an HTTP response. The REST bridge throws these for requests that it rejects itself. */
export class Refusal extends Error {
  override readonly name = "Refusal";

  constructor(
    readonly status: number,
    /** For programs: the contract's reason, or one of the bridge's own. */
    readonly code: string,
    sentence: string,
    readonly headers: Fields = {},
    /** Further members of the JSON. */
    private readonly details: Readonly<Record<string, JsonShape | undefined>> = {},
  ) {
    super(sentence);
  }

  /** The JSON of the response. */
  get body(): string {
    return writeJson({ error: this.message, code: this.code, ...this.details });
  }
}

/** A 400. The sentence says what is wrong, then what would be right. */
export function badRequest(sentence: string): Refusal {
  return new Refusal(400, "invalid_argument", sentence);
}

/** Sends an error response. */
export function sendRefusal(exchange: Exchange, refusal: Refusal): void {
  const headers = { "content-type": "application/json", "cache-control": "no-store", ...refusal.headers };
  send(exchange, { status: refusal.status, headers, body: refusal.body });
}

/** The status of each Connect code. No client sees 499: it has disconnected. */
const STATUS_BY_CODE: Readonly<Record<Code, number>> = {
  [Code.Canceled]: 499,
  // A write with an unknown outcome. Not 503 or 504: clients retry those automatically.
  [Code.Unknown]: 500,
  [Code.InvalidArgument]: 400,
  [Code.DeadlineExceeded]: 504,
  [Code.NotFound]: 404,
  [Code.AlreadyExists]: 409,
  [Code.PermissionDenied]: 403,
  [Code.ResourceExhausted]: 429,
  [Code.FailedPrecondition]: 400,
  [Code.Aborted]: 409,
  // A revision that is compacted or in the future: the request asks for what can't be had, and the code says which.
  [Code.OutOfRange]: 400,
  [Code.Unimplemented]: 501,
  [Code.Internal]: 500,
  [Code.Unavailable]: 503,
  [Code.DataLoss]: 500,
  [Code.Unauthenticated]: 401,
};

/** Reasons whose status differs from that of their code. */
const STATUS_BY_REASON: Readonly<Record<string, number>> = {
  key_exists: 412,
  revision_mismatch: 412,
  value_too_large: 413,
  body_too_large: 413,
  answer_too_large: 413,
  bucket_full: 507,
  storage_exhausted: 507,
};

/** The status of an error. `reason` is empty if it has none. */
export function statusOf(code: Code, reason: string): number {
  return STATUS_BY_REASON[reason] ?? STATUS_BY_CODE[code];
}

/** The response to an error; undefined for an unexpected one, which is a bug. */
export function refusalOf(error: unknown): Refusal | undefined {
  if (error instanceof Refusal) return error;
  if (!(error instanceof ConnectError)) return undefined;
  const detail = detailOf(error);
  const reason = detail?.reason ?? "";
  const status = statusOf(error.code, reason);
  const code = reason === "" ? codeToString(error.code) : reason;
  return new Refusal(status, code, error.rawMessage, headersOf(status, detail), operationOf(detail));
}

function operationOf(detail: ErrorDetail | undefined): Record<string, JsonShape | undefined> {
  if (detail?.operationIndex === undefined) return {};
  const { operationIndex, key, revision } = detail;
  return { operation_index: operationIndex, key: key === "" ? undefined : key, revision };
}

/** The response to an unexpected error: it reveals no details. */
export function opaqueRefusal(requestId: string | undefined): Refusal {
  return new Refusal(500, "internal", internalErrorMessage(requestId));
}

/** The details of a service error; undefined if it has none. */
export function detailOf(error: ConnectError): ErrorDetail | undefined {
  return error.findDetails(ErrorDetailSchema)[0];
}

function headersOf(status: number, detail: ErrorDetail | undefined): Fields {
  switch (status) {
    case 401:
      return { "www-authenticate": "Bearer" };
    case 412:
      // The current revision of the request's key, which saves the client a read.
      return detail === undefined || detail.revision === 0n || detail.operationIndex !== undefined
        ? {}
        : { etag: entityTag(detail.revision, detail.bucketCreatedAt) };
    case 500:
      return unknownOutcomeHeaders(detail);
    case 429:
    case 503:
      return { "retry-after": String(retryAfterSeconds(detail)) };
    default:
      return {};
  }
}

/** What a client needs to send a write again. */
function unknownOutcomeHeaders(detail: ErrorDetail | undefined): Fields {
  const { idempotencyWindow, storageTime } = detail ?? {};
  const headers = idempotencyWindowHeaders(idempotencyWindow);
  return storageTime === undefined
    ? headers
    : { ...headers, "ironflow-storage-time-ms": String(timestampMs(storageTime)) };
}

/** The header that says how long a bucket remembers idempotency keys. */
export function idempotencyWindowHeaders(window: Duration | undefined): Fields {
  if (window === undefined) return {};
  const windowMs = Number(window.seconds) * 1_000 + window.nanos / 1_000_000;
  return { "ironflow-idempotency-window-ms": String(windowMs) };
}

function retryAfterSeconds(detail: ErrorDetail | undefined): number {
  const wait = detail?.retryAfter;
  if (wait === undefined) return 1;
  return Math.max(1, Number(wait.seconds) + (wait.nanos > 0 ? 1 : 0));
}
