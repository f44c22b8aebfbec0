/** What a peer may do wrong: https://www.rfc-editor.org/rfc/rfc9113 section 5.4. */
import { ErrorCode } from "./codes.js";

/** What a peer did wrong. It ends the connection, or with `streamId` that stream alone. */
export class Http2Violation extends Error {
  override readonly name = "Http2Violation";

  constructor(
    readonly code: number,
    message: string,
    readonly streamId?: number,
  ) {
    super(message);
  }
}

export function violation(message: string, streamId?: number): Http2Violation {
  return new Http2Violation(ErrorCode.protocolError, message, streamId);
}

export function wrongSize(what: string, streamId?: number): Http2Violation {
  return new Http2Violation(ErrorCode.frameSizeError, `${what} of a size that can't be.`, streamId);
}

export function wrongLength(streamId: number): Http2Violation {
  return violation("The body is not as long as its content-length says.", streamId);
}
