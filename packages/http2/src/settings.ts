/** The settings of both sides: RFC 9113 section 6.5. */
import type { Http2Limits } from "./limits.js";
import { ErrorCode, FRAME_BYTES_MAX, INT31_MAX, Setting } from "./codes.js";
import { Http2Error } from "./errors.js";
import { TABLE_BYTES_MAX } from "./field-decoder.js";

/** The receive window of a stream. */
export const STREAM_WINDOW_BYTES = 1_048_576;
/** The receive window of a connection. */
export const CONNECTION_WINDOW_BYTES = 8 * 1_048_576;

const ENTRY_BYTES = 6;
const FRAME_SIZE_LIMIT = 2 ** 24 - 1;

/** The payload of the SETTINGS that we send. */
export function ownSettings(limits: Pick<Http2Limits, "streamsPerConnectionMax" | "headerBytesMax">): Buffer {
  const settings: readonly (readonly [number, number])[] = [
    [Setting.maxConcurrentStreams, limits.streamsPerConnectionMax],
    [Setting.initialWindowSize, STREAM_WINDOW_BYTES],
    [Setting.maxHeaderListSize, limits.headerBytesMax],
  ];
  const payload = Buffer.alloc(ENTRY_BYTES * settings.length);
  settings.forEach(([id, value], index) => {
    payload.writeUInt16BE(id, index * ENTRY_BYTES);
    payload.writeUInt32BE(value, index * ENTRY_BYTES + 2);
  });
  return payload;
}

/** The settings of the peer that matter here; absent ones are unchanged. */
export interface PeerSettings {
  initialWindow?: number;
  /** The peer wants a smaller dynamic table than the default. */
  hasSmallTable?: boolean;
}

export function readSettings(bytes: Buffer, start: number, end: number): PeerSettings {
  if ((end - start) % ENTRY_BYTES !== 0) {
    throw new Http2Error(ErrorCode.frameSizeError, "SETTINGS has an invalid length.");
  }
  const settings: PeerSettings = {};
  for (let at = start; at < end; at += ENTRY_BYTES) {
    const value = bytes.readUInt32BE(at + 2);
    switch (bytes.readUInt16BE(at)) {
      case Setting.headerTableSize:
        if (value < TABLE_BYTES_MAX) settings.hasSmallTable = true;
        break;
      case Setting.enablePush:
        if (value > 1) throw wrong("ENABLE_PUSH", value);
        break;
      case Setting.initialWindowSize:
        if (value > INT31_MAX)
          throw new Http2Error(ErrorCode.flowControlError, `A window of ${value} bytes.`);
        settings.initialWindow = value;
        break;
      case Setting.maxFrameSize:
        // We never send frames larger than the smallest allowed maximum.
        if (value < FRAME_BYTES_MAX || value > FRAME_SIZE_LIMIT) throw wrong("MAX_FRAME_SIZE", value);
        break;
    }
  }
  return settings;
}

function wrong(name: string, value: number): Http2Error {
  return new Http2Error(ErrorCode.protocolError, `${name} has the invalid value ${value}.`);
}
