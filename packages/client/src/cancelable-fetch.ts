/**
 * A `fetch` whose streaming responses end when their signal aborts.
 *
 * Without it, the connection could stay open and the server keep sending. undici holds a request's signal weakly, so Node's fetch may
 * lose it at a garbage collection after the response has started; and the transport does not cancel the body when its reader stops.
 */

/** Wraps `fetch` for a Connect transport. */
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
