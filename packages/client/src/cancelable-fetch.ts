/**
 * `fetch` whose streams end when their signal says so.
 *
 * Node's own fetch forgets the signal of a request whose answer has begun when memory is next tidied up (undici holds it weakly), and a
 * stream can't be ended otherwise: the transport does not pass on that its reader has left. The connection would stay open, and the
 * server send to nobody.
 */

/** The same fetch, for the requests of a transport. */
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
  // What waits for the next part is told of the end by that.
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
