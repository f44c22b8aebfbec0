/** Tells HTTP/2 with prior knowledge from HTTP/1.1 by a connection's first bytes (RFC 9113 section 3.4). */
import type { Socket } from "node:net";

/** The preface of HTTP/2 begins with this; no method of HTTP/1.1 does. */
const PREFACE_START = Buffer.from("PRI");

/**
 * Reads until it is sure, puts the bytes back, and tells; the socket is paused then. A connection that sends nothing in time, or ends
 * first, is closed and never told of.
 */
export function peekProtocol(
  socket: Socket,
  timeoutMs: number,
  tell: (protocol: "http1" | "http2") => void,
): void {
  let seen: Buffer = Buffer.alloc(0);
  const tooLate = setTimeout(() => socket.destroy(), timeoutMs);
  const onEnd = (): void => {
    stop();
    socket.destroy();
  };
  const onData = (chunk: Buffer): void => {
    seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
    const length = Math.min(seen.length, PREFACE_START.length);
    const mayBeHttp2 = seen.compare(PREFACE_START, 0, length, 0, length) === 0;
    if (mayBeHttp2 && length < PREFACE_START.length) return;
    stop();
    socket.pause();
    socket.unshift(seen);
    tell(mayBeHttp2 ? "http2" : "http1");
  };
  const stop = (): void => {
    clearTimeout(tooLate);
    socket.off("data", onData);
    socket.off("end", onEnd);
    socket.off("close", stop);
  };
  socket.on("data", onData);
  socket.on("end", onEnd);
  socket.on("close", stop);
}
