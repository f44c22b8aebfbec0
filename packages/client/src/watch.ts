/** A watch that survives broken connections and restarts of the service. */
import type { RpcClient } from "./rpc-client.js";
import { KvError, KvTimeoutError, KvUnavailableError } from "./errors.js";
import { kvErrorOf } from "./failure.js";
import { retryDelayMs, sleep } from "./retry.js";
import type { Watch, WatchEvent, WatchOptions } from "./watch-events.js";
import { WatchConnection } from "./watch-connection.js";
import { DEFAULT_PROGRESS_INTERVAL_MS, WatchPosition } from "./watch-position.js";

/** A connection counts as dead after this many progress intervals without a message. */
const IDLE_INTERVALS_MAX = 3;

/** Reasons of errors after which a watch can resume. */
const TRANSIENT_REASONS: ReadonlySet<string> = new Set(["slow_watcher", "rate_limited"]);

/** Creates a watch, which connects at the first `next()`. Throws for invalid options. */
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
    // A generator queues return() behind a pending next(), so abort that first.
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
  const idleTimeoutMs = (options.progressIntervalMs ?? DEFAULT_PROGRESS_INTERVAL_MS) * IDLE_INTERVALS_MAX;
  let failures = 0;
  let isEstablished = false;
  try {
    while (!isAborted(signal)) {
      let failure: KvError;
      const connection = new WatchConnection(signal, idleTimeoutMs);
      try {
        const request = await position.request(rpc, signal);
        await connection.open(rpc, request);
        for (;;) {
          const message = connection.takeArrived() ?? (await connection.next());
          if (message === undefined) break;
          failures = 0;
          isEstablished = true;
          const event = position.apply(message, options.marks === true);
          if (event !== undefined) yield event;
          if (isAborted(signal)) return undefined;
        }
        failure = connectionLost("The service ended the watch without an error.", bucket);
      } catch (error) {
        if (isAborted(signal)) return undefined;
        failure = connection.isTimedOut
          ? connectionLost(
              "The service sent no progress event in time; the connection counts as dead.",
              bucket,
            )
          : kvErrorOf(error, { isIdempotent: true, bucket });
      } finally {
        connection.close();
      }
      failures++;
      if (!canResume(failure, isEstablished) || failures > (options.failuresMax ?? Infinity)) throw failure;
      options.onInterrupted?.(failure);
      await sleep(retryDelayMs(rpc.retry, failures, failure.retryAfterMs), signal);
    }
  } finally {
    options.signal?.removeEventListener("abort", end);
    end();
  }
}

/** Reads the property in a function, so the compiler does not assume that it never changes. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}

/** Whether a watch resumes after this error. Other errors (deleted bucket, lost history, invalid API key) are thrown to the application. */
function canResume(error: KvError, isEstablished: boolean): boolean {
  if (error instanceof KvUnavailableError || error instanceof KvTimeoutError) return true;
  if (error.code === "canceled" || TRANSIENT_REASONS.has(error.reason)) return true;
  return error.reason === "too_many_watches" && isEstablished;
}

function connectionLost(message: string, bucket: string): KvUnavailableError {
  return new KvUnavailableError(message, {
    code: "unavailable",
    reason: "connection_lost",
    bucket,
    retryable: true,
  });
}
