/** Runs one call on the transport: headers, time limit, retries, and errors as {@link KvError}. */
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
import { type FailedCall, kvErrorOf } from "./failure.js";
import { pauseMs, type RetryPolicy, sleep } from "./retry.js";
import { IdempotencyKeys, WriteAttempts } from "./write-attempts.js";

/** What limits one call. */
export interface CallOptions {
  /** Aborting it ends the call, which then throws the signal's reason. A write may have happened all the same. */
  readonly signal?: AbortSignal | undefined;
  /** The time for the call with all its retries, in milliseconds. Default: the client's. The service cuts it to a minute. */
  readonly timeoutMs?: number | undefined;
}

/** What the SDK's own calls may ask for besides. */
interface InnerCallOptions extends CallOptions {
  /** Throw KvUnknownOutcomeError where the outcome is open, although the contract says that sending it again is harmless. */
  readonly tellsDoubt?: boolean | undefined;
}

/** What every call of a client shares. */
export interface RpcClientOptions {
  readonly transport: Transport;
  readonly headers: Headers;
  readonly timeoutMs: number;
  readonly retry: RetryPolicy;
}

/** The bucket and key that a request names, for the errors that the server did not make; and what makes it harmless to send it again. */
interface Place {
  readonly bucket?: string | undefined;
  readonly key?: string | undefined;
  readonly idempotencyKey?: string | undefined;
}

const BUCKETS_SEEN_MAX = 10_000;

export class RpcClient {
  private readonly idempotencyKeys = new IdempotencyKeys();
  /** The newest revision that was seen of each bucket. */
  private readonly seen = new Map<string, bigint>();

  constructor(private readonly options: RpcClientOptions) {}

  get retry(): RetryPolicy {
    return this.options.retry;
  }

  /** A new idempotency key; none where nothing is sent twice. */
  newIdempotencyKey(): string {
    return this.options.retry.attempts > 1 ? this.idempotencyKeys.next() : "";
  }

  /** Takes note of a revision: whatever is sent from now on gets a later one. */
  noteRevision(bucket: string, revision: bigint): void {
    if (revision <= (this.seen.get(bucket) ?? 0n)) return;
    if (this.seen.size >= BUCKETS_SEEN_MAX) this.seen.clear();
    this.seen.set(bucket, revision);
  }

  /** The bucket is gone: one that is made under its name begins again. */
  forgetRevision(bucket: string): void {
    this.seen.delete(bucket);
  }

  /** Calls until it succeeds, can't be retried, or the time or the attempts are used up. */
  async unary<Input extends DescMessage, Output extends DescMessage>(
    method: DescMethodUnary<Input, Output>,
    request: MessageInitShape<Input> & Place,
    options: InnerCallOptions = {},
  ): Promise<MessageShape<Output>> {
    const { retry } = this.options;
    const { signal, tellsDoubt } = options;
    const idempotency =
      tellsDoubt === true ? MethodOptions_IdempotencyLevel.IDEMPOTENCY_UNKNOWN : method.idempotency;
    const call = failedCallOf(idempotency, request);
    const deadlineMs = performance.now() + timeoutOf(options.timeoutMs ?? this.options.timeoutMs);
    const isKeyed = (request.idempotencyKey ?? "") !== "";
    const attempts = new WriteAttempts(isKeyed, this.seen.get(request.bucket ?? "") ?? 0n);
    for (let failures = 1; ; failures++) {
      const headers = attempts.headers(this.options.headers, failures - 1);
      const limitMs = deadlineMs - performance.now();
      const result = await this.attempt(method, request, headers, call, signal, limitMs);
      if ("message" in result) return result.message;
      const { failure } = result;
      const pause = pauseMs(retry, failures, failure.retryAfterMs);
      const isLast = failures >= retry.attempts || performance.now() + pause >= deadlineMs;
      if (!attempts.failed(failure, pause) || isLast) throw attempts.last(failure);
      await sleep(pause, signal);
    }
  }

  /** Opens a stream: no time limit, no retries. Failures are KvErrors, here and from the iteration. */
  async *stream<Input extends DescMessage, Output extends DescMessage>(
    method: DescMethodServerStreaming<Input, Output>,
    request: MessageInitShape<Input> & Place,
    signal: AbortSignal,
  ): AsyncGenerator<MessageShape<Output>> {
    try {
      const { transport, headers } = this.options;
      const response = await transport.stream(method, signal, undefined, headers, once(request));
      yield* response.message;
    } catch (error) {
      throw kvErrorOf(error, failedCallOf(method.idempotency, request));
    }
  }

  private async attempt<Input extends DescMessage, Output extends DescMessage>(
    method: DescMethodUnary<Input, Output>,
    request: MessageInitShape<Input>,
    headers: Headers,
    call: FailedCall,
    signal: AbortSignal | undefined,
    timeoutMs: number,
  ): Promise<{ message: MessageShape<Output> } | { failure: KvError }> {
    signal?.throwIfAborted();
    const { transport } = this.options;
    // The transport takes 0 for "no limit"; a limit that has just run out is one millisecond.
    const limitMs = Math.max(1, Math.ceil(timeoutMs));
    try {
      const response = await transport.unary(method, signal, limitMs, headers, request);
      return { message: response.message };
    } catch (error) {
      signal?.throwIfAborted();
      return { failure: kvErrorOf(error, call) };
    }
  }
}

/** The longest that a timer can wait, in milliseconds. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;

/** A time limit that timers can keep. Throws RangeError. */
export function timeoutOf(timeoutMs: number): number {
  if (!(timeoutMs > 0)) throw new RangeError(`timeoutMs is ${timeoutMs}; it takes more than 0 milliseconds.`);
  return Math.min(timeoutMs, TIMEOUT_MS_MAX);
}

function failedCallOf(idempotency: MethodOptions_IdempotencyLevel, request: Place): FailedCall {
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
