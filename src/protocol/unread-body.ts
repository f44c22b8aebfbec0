/**
 * What becomes of the rest of an HTTP/2 request that was answered before it was read to its end: the client is told to stop sending
 * (RFC 9113 section 8.1). Bytes that nobody reads would hold back the flow control of its whole connection.
 */
import type { ServerHttp2Stream } from "node:http2";

/** Call it when the last frame of the answer was handed to Node; the answer still goes out whole. */
export function stopRequest(stream: ServerHttp2Stream): void {
  // A reset must not overtake the frames that Node has yet to write. Node itself waits like this where nothing was read at all.
  setImmediate(() => {
    if (!stream.readableEnded && !stream.closed) stream.close();
  });
}
