/** Constants of HTTP/2: RFC 9113 sections 6, 6.5.2 and 7. */

export const FrameType = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

/** The meaning of a flag depends on the frame type. */
export const Flag = { endStream: 0x1, ack: 0x1, endHeaders: 0x4, padded: 0x8, priority: 0x20 } as const;

export const Setting = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
} as const;

export const ErrorCode = {
  noError: 0,
  protocolError: 1,
  internalError: 2,
  flowControlError: 3,
  streamClosed: 5,
  frameSizeError: 6,
  refusedStream: 7,
  cancel: 8,
  compressionError: 9,
  enhanceYourCalm: 11,
} as const;

/** The frame header: length, type, flags and stream id. */
export const FRAME_HEAD_BYTES = 9;
/** The default SETTINGS_MAX_FRAME_SIZE; we never announce a larger one. */
export const FRAME_BYTES_MAX = 16_384;
/** The default flow-control window. */
export const WINDOW_BYTES = 65_535;
/** The largest window, and the largest stream id. */
export const INT31_MAX = 2 ** 31 - 1;
