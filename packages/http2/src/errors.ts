/** Errors of the peer: RFC 9113 section 5.4. */
import { ErrorCode } from "./codes.js";

/** A connection error (RFC 9113 section 5.4.1), or with `streamId` a stream error (section 5.4.2). */
export class Http2Error extends Error {
  override readonly name = "Http2Error";

  constructor(
    /** Sent in GOAWAY or RST_STREAM (RFC 9113 section 7). */
    readonly code: number,
    message: string,
    readonly streamId?: number,
  ) {
    super(message);
  }
}

export function protocolError(message: string, streamId?: number): Http2Error {
  return new Http2Error(ErrorCode.protocolError, message, streamId);
}

export function frameSizeError(frame: string, streamId?: number): Http2Error {
  return new Http2Error(ErrorCode.frameSizeError, `${frame} has an invalid length.`, streamId);
}

/** RFC 9113 section 8.1.1: such a request is malformed. */
export function contentLengthError(streamId: number): Http2Error {
  return protocolError("The length of the body differs from its content-length.", streamId);
}
