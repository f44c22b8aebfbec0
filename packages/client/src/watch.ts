/** A watch that survives broken connections and restarts of the service. */
import { KeyValueService, type WatchResponse } from "../../../gen/ironflow/kv/v1/key_value_service_pb.js";
import type { RpcClient } from "./rpc-client.js";
import { KvError, KvTimeoutError, KvUnavailableError } from "./errors.js";
import { kvErrorOf } from "./failure.js";
import { pauseMs, sleep } from "./retry.js";
import { ChangeEvent, type Watch, type WatchEvent, type WatchOptions } from "./watch-events.js";
import { DEFAULT_PROGRESS_INTERVAL_MS, WatchPosition } from "./watch-position.js";

/** Progress intervals without a message after which a connection counts as dead. */
const SILENT_INTERVALS_MAX = 3;

/** Reasons of transient refusals. */
const PASSING_REASONS: ReadonlySet<string> = new Set(["slow_watcher", "rate_limited"]);

/** Creates a watch, which connects at the first `next()`. Throws for malformed options. */
export function startWatch(
  rpc: RpcClient,
  bucket: string,
  filters: readonly string[],
  options: WatchOptions,
): Watch<WatchEvent> {
  const position = new WatchPosition(bucket, filters, options);
  const controller = new AbortController();
  const end = (): void => controller.abort();
  const events = run(rpc, bucket, position, options, controller);
  return {
    next: () => events.next(),
    // A generator queues return() behind a pending next(): abort that first.
    return: () => {
      end();
      return events.return(undefined);
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

async function* run(
  rpc: RpcClient,
  bucket: string,
  position: WatchPosition,
  options: WatchOptions,
  controller: AbortController,
): AsyncGenerator<WatchEvent, undefined> {
  const { signal } = controller;
  const end = (): void => controller.abort();
  if (options.signal?.aborted === true) end();
  options.signal?.addEventListener("abort", end);
  const silenceMsMax = (options.progressIntervalMs ?? DEFAULT_PROGRESS_INTERVAL_MS) * SILENT_INTERVALS_MAX;
  let failures = 0;
  let isEstablished = false;
  try {
    while (!isAborted(signal)) {
      let failure: KvError;
      try {
        const request = await position.request(rpc, signal);
        for await (const message of connect(rpc, request, signal, silenceMsMax)) {
          failures = 0;
          isEstablished = true;
          const event = position.take(message);
          if (event instanceof ChangeEvent || (event !== undefined && options.marks === true)) yield event;
          if (isAborted(signal)) return undefined;
        }
        failure = broken("The service ended the watch without an error.", bucket);
      } catch (error) {
        if (isAborted(signal)) return undefined;
        failure = kvErrorOf(error, { isIdempotent: true, bucket });
      }
      failures++;
      if (!canResume(failure, isEstablished) || failures > (options.failuresMax ?? Infinity)) throw failure;
      options.onInterrupted?.(failure);
      await sleep(pauseMs(rpc.retry, failures, failure.retryAfterMs), signal);
    }
  } finally {
    options.signal?.removeEventListener("abort", end);
    end();
  }
}

/** One connection: fails after too long a silence, and closes when the loop over it ends. */
async function* connect(
  rpc: RpcClient,
  request: Awaited<ReturnType<WatchPosition["request"]>>,
  signal: AbortSignal,
  silenceMsMax: number,
): AsyncGenerator<WatchResponse> {
  const connection = new AbortController();
  const close = (): void => connection.abort();
  signal.addEventListener("abort", close);
  const silence = { isTooLong: false };
  const messages = rpc.stream(KeyValueService.method.watch, request, connection.signal);
  try {
    for (;;) {
      // Runs only during next(): a slow consumer is not a silent service.
      const timer = setTimeout(() => {
        silence.isTooLong = true;
        close();
      }, silenceMsMax);
      const result = await messages.next().finally(() => clearTimeout(timer));
      if (result.done === true) return;
      yield result.value;
    }
  } catch (error) {
    throw silence.isTooLong
      ? broken("The service sent no progress event in time; the connection counts as dead.", request.bucket)
      : error;
  } finally {
    signal.removeEventListener("abort", close);
    close();
  }
}

/** A function, because the compiler would assume that the property never changes. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}

/** Whether a watch resumes after this error. Errors that the program must handle (a deleted bucket, lost history, the API key) are thrown. */
function canResume(error: KvError, isEstablished: boolean): boolean {
  if (error instanceof KvUnavailableError || error instanceof KvTimeoutError) return true;
  if (error.code === "canceled" || PASSING_REASONS.has(error.reason)) return true;
  return error.reason === "too_many_watches" && isEstablished;
}

function broken(sentence: string, bucket: string): KvUnavailableError {
  return new KvUnavailableError(sentence, {
    code: "unavailable",
    reason: "connection_lost",
    bucket,
    retryable: true,
  });
}
