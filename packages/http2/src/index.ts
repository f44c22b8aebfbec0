/** An HTTP/2 server: RFC 9113 and HPACK (RFC 7541). See README.md. */
export { ByteBudget, type ByteAccount } from "./byte-budget.js";
export { ErrorCode } from "./codes.js";
export { dateText } from "./date.js";
export { errorCodeName, type Http2Counters } from "./http2-counters.js";
export { DEFAULT_HTTP2_LIMITS, type Http2Limits } from "./limits.js";
export { PingMonitor } from "./ping-monitor.js";
export { type Http2Budgets, Http2Server, type Http2ServerOptions } from "./server.js";
export { destroyStalledSockets } from "./stall-detector.js";
export { LATE_BODY_BYTES_MAX, type RequestStream, type StreamState } from "./stream.js";
export type { Fields, StreamListener } from "./stream-events.js";
