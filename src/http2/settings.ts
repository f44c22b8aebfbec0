/** The settings of both sides: https://www.rfc-editor.org/rfc/rfc9113 section 6.5. */
import type { Limits } from "../kv/limits.js";
import { ErrorCode, FRAME_BYTES_MAX, INT31_MAX, Setting } from "./codes.js";
import { Http2Violation } from "./violations.js";
import { TABLE_BYTES_MAX } from "./field-decoder.js";

/** What a client may send on a stream before we have read it. */
export const STREAM_WINDOW_BYTES = 1_048_576;
/** The same for all streams of a connection together. */
export const CONNECTION_WINDOW_BYTES = 8 * 1_048_576;

const ENTRY_BYTES = 6;
const FRAME_SIZE_LIMIT = 2 ** 24 - 1;

/** The payload of our SETTINGS. */
export function ownSettings(limits: Pick<Limits, "streamsPerConnectionMax" | "headerBytesMax">): Buffer {
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

/** What of the other side's settings concerns us; absent: as it was. */
export interface PeerSettings {
  initialWindow?: number;
  /** Its table for our fields is smaller than ours would be. */
  hasSmallTable?: boolean;
}

export function readSettings(bytes: Buffer, start: number, end: number): PeerSettings {
  if ((end - start) % ENTRY_BYTES !== 0) {
    throw new Http2Violation(ErrorCode.frameSizeError, "SETTINGS of a length that can't be.");
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
          throw new Http2Violation(ErrorCode.flowControlError, `A window of ${value} bytes.`);
        settings.initialWindow = value;
        break;
      case Setting.maxFrameSize:
        // Ours are never larger than the smallest that can be asked for.
        if (value < FRAME_BYTES_MAX || value > FRAME_SIZE_LIMIT) throw wrong("MAX_FRAME_SIZE", value);
        break;
    }
  }
  return settings;
}

function wrong(name: string, value: number): Http2Violation {
  return new Http2Violation(ErrorCode.protocolError, `${name} can't be ${value}.`);
}
