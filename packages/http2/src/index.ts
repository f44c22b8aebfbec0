/** An HTTP/2 server: RFC 9113 and HPACK (RFC 7541). See README.md. */
export { ErrorCode } from "./codes.js";
export { dateText } from "./date.js";
export { DEFAULT_HTTP2_LIMITS, type Http2Limits } from "./limits.js";
export { PingMonitor } from "./ping-monitor.js";
export { Http2Server, type Http2ServerOptions } from "./server.js";
export { destroyStalledSockets } from "./stall-detector.js";
export type { RequestStream, StreamState } from "./stream.js";
export type { Fields, StreamListener } from "./stream-events.js";
