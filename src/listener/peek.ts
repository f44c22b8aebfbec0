/** Detects HTTP/2 with prior knowledge, or HTTP/1.1, by a connection's first bytes (RFC 9113 section 3.4). */
import type { Socket } from "node:net";

/** The HTTP/2 connection preface starts with this; no HTTP/1.1 method does. */
const PREFACE_START = Buffer.from("PRI");

/**
 * Reads until the protocol is known, puts the bytes back, pauses the socket and calls `onDetected`. Destroys a connection that times out or
 * ends first, without a call.
 */
export function peekProtocol(
  socket: Socket,
  timeoutMs: number,
  onDetected: (protocol: "http1" | "http2") => void,
): void {
  let seen: Buffer = Buffer.alloc(0);
  const timer = setTimeout(() => socket.destroy(), timeoutMs);
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
    onDetected(mayBeHttp2 ? "http2" : "http1");
  };
  const stop = (): void => {
    clearTimeout(timer);
    socket.off("data", onData);
    socket.off("end", onEnd);
    socket.off("close", stop);
  };
  socket.on("data", onData);
  socket.on("end", onEnd);
  socket.on("close", stop);
}
