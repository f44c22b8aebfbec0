/**
 * A `fetch` whose streaming responses end when their signal aborts.
 *
 * Node's fetch may lose the signal of a request at the next garbage collection once its response has started: undici holds it weakly. The
 * transport does not cancel the body when its reader leaves either. The connection would stay open, and the server would keep sending.
 */

/** Wraps `fetch` for a transport. */
export function cancelableFetch(fetch: typeof globalThis.fetch): typeof globalThis.fetch {
  return async (input, init) => {
    const response = await fetch(input, init);
    const { body, headers, status, statusText } = response;
    const isStream = headers.get("content-type")?.startsWith("application/connect+") === true;
    if (body === null || !isStream || !(init?.signal instanceof AbortSignal)) return response;
    return new Response(cancelable(body, init.signal), { headers, status, statusText });
  };
}

function cancelable(body: ReadableStream<Uint8Array>, signal: AbortSignal): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  const cancel = (reason: unknown): Promise<void> => {
    signal.removeEventListener("abort", abort);
    return reader.cancel(reason);
  };
  // This also ends a pending read().
  const abort = (): void => void cancel(signal.reason).catch(() => undefined);
  signal.addEventListener("abort", abort);
  if (signal.aborted) abort();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await reader.read();
        if (!done) {
          controller.enqueue(value);
          return;
        }
        signal.removeEventListener("abort", abort);
        controller.close();
      },
      cancel,
    },
    { highWaterMark: 0 },
  );
}
