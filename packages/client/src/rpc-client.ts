/** Makes calls over a Connect transport: adds headers, limits the time, retries, and converts errors to {@link KvError}. */
import type {
  DescMessage,
  DescMethodServerStreaming,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import type { Transport } from "@connectrpc/connect";
import type { KvError } from "./errors.js";
import type { OptionNames } from "./options.js";
import { type FailedCall, kvErrorOf } from "./failure.js";
import { retryDelayMs, type RetryPolicy, sleep } from "./retry.js";
import { IdempotencyKeys, type RequestHeaders, WriteAttempts } from "./write-attempts.js";

/** The options of every call. */
export interface CallOptions {
  /** Ends the call when it aborts; the call throws the signal's reason. A write may have been applied. */
  readonly signal?: AbortSignal | undefined;
  /** The time limit of the call, including its retries, in milliseconds. Default: the client's. The service ends an attempt after a minute. */
  readonly timeoutMs?: number | undefined;
}

export const CALL_OPTIONS: OptionNames<CallOptions> = { signal: true, timeoutMs: true };

/** Options that only the SDK itself sets. */
interface InternalCallOptions extends CallOptions {
  /** Throw KvUnknownOutcomeError if the outcome is unknown, instead of retrying a method that the contract marks idempotent. */
  readonly reportsUnknownOutcome?: boolean | undefined;
}

/** What all calls of a client have in common. */
export interface RpcClientOptions {
  readonly transport: Transport;
  readonly headers: RequestHeaders;
  readonly timeoutMs: number;
  readonly retry: RetryPolicy;
}

/** The request fields that the client reads: for errors without a server's detail, and to decide whether to retry. */
interface RequestFields {
  readonly bucket?: string | undefined;
  readonly key?: string | undefined;
  readonly idempotencyKey?: string | undefined;
}

/** Buckets whose newest seen revision the client remembers. */
const SEEN_BUCKETS_MAX = 10_000;

export class RpcClient {
  private readonly idempotencyKeys = new IdempotencyKeys();
  /** The newest revision that the client has seen, by bucket. */
  private readonly seenRevisions = new Map<string, bigint>();

  constructor(private readonly options: RpcClientOptions) {}

  get retry(): RetryPolicy {
    return this.options.retry;
  }

  /** A new idempotency key; empty if retries are off. */
  newIdempotencyKey(): string {
    return this.options.retry.attempts > 1 ? this.idempotencyKeys.next() : "";
  }

  /** Records a seen revision: a write sent from now on gets a higher one. */
  recordRevision(bucket: string, revision: bigint): void {
    if (revision <= (this.seenRevisions.get(bucket) ?? 0n)) return;
    if (this.seenRevisions.size >= SEEN_BUCKETS_MAX) this.seenRevisions.clear();
    this.seenRevisions.set(bucket, revision);
  }

  /** Forgets a deleted bucket's revision: a recreated bucket starts again at 1. */
  clearRevision(bucket: string): void {
    this.seenRevisions.delete(bucket);
  }

  /** Makes a unary call. Retries it until it succeeds, fails permanently, or reaches the time limit or the number of attempts. */
  async unary<Input extends DescMessage, Output extends DescMessage>(
    method: DescMethodUnary<Input, Output>,
    request: MessageInitShape<Input> & RequestFields,
    options: InternalCallOptions = {},
  ): Promise<MessageShape<Output>> {
    const { retry, transport } = this.options;
    const { signal, reportsUnknownOutcome } = options;
    const idempotency =
      reportsUnknownOutcome === true
        ? MethodOptions_IdempotencyLevel.IDEMPOTENCY_UNKNOWN
        : method.idempotency;
    const call = failedCallOf(idempotency, request);
    const deadlineMs = performance.now() + timeoutOf(options.timeoutMs ?? this.options.timeoutMs);
    const isKeyed = (request.idempotencyKey ?? "") !== "";
    const attempts = new WriteAttempts(isKeyed, this.seenRevisions.get(request.bucket ?? "") ?? 0n);
    for (let failures = 1; ; failures++) {
      signal?.throwIfAborted();
      const headers = attempts.headers(this.options.headers, failures - 1);
      // To the transport, 0 means "no limit": send at least 1 ms.
      const limitMs = Math.max(1, Math.ceil(deadlineMs - performance.now()));
      let failure: KvError;
      try {
        return (await transport.unary(method, signal, limitMs, headers, request)).message;
      } catch (error) {
        signal?.throwIfAborted();
        failure = kvErrorOf(error, call);
      }
      const delayMs = retryDelayMs(retry, failures, failure.retryAfterMs);
      const isLast = failures >= retry.attempts || performance.now() + delayMs >= deadlineMs;
      if (!attempts.canRetry(failure, delayMs) || isLast) throw attempts.finalError(failure);
      await sleep(delayMs, signal);
    }
  }

  /** Opens a stream, without time limit and retries. The call and the iteration throw the transport's errors. */
  async stream<Input extends DescMessage, Output extends DescMessage>(
    method: DescMethodServerStreaming<Input, Output>,
    request: MessageInitShape<Input>,
    signal: AbortSignal,
  ): Promise<AsyncIterable<MessageShape<Output>>> {
    const { transport, headers } = this.options;
    return (await transport.stream(method, signal, undefined, headers, once(request))).message;
  }
}

/** The longest delay of a JavaScript timer. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;

/** The time limit, capped at what a timer supports. Throws RangeError. */
export function timeoutOf(timeoutMs: number): number {
  if (!(timeoutMs > 0))
    throw new RangeError(`timeoutMs is ${timeoutMs}; it must be more than 0 milliseconds.`);
  return Math.min(timeoutMs, TIMEOUT_MS_MAX);
}

function failedCallOf(idempotency: MethodOptions_IdempotencyLevel, request: RequestFields): FailedCall {
  return {
    isIdempotent: idempotency !== MethodOptions_IdempotencyLevel.IDEMPOTENCY_UNKNOWN,
    bucket: request.bucket,
    key: request.key,
  };
}

// eslint-disable-next-line @typescript-eslint/require-await -- the transport wants an async iterable
async function* once<Message>(message: Message): AsyncGenerator<Message> {
  yield message;
}
