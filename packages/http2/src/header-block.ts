/** Assembles a header block that spans several frames: RFC 9113 section 6.10. */
import { ErrorCode, Flag } from "./codes.js";
import { Http2Error } from "./errors.js";

/** An allowed block fits in three frames. More of them, even empty ones, are a CONTINUATION flood (CVE-2024-27983). */
const FRAMES_MAX = 16;

/** An incomplete header block. */
export class HeaderBlock {
  bytes = 0;
  private readonly pieces: Buffer[] = [];

  constructor(
    readonly streamId: number,
    /** The flags of the first frame. */
    readonly flags: number,
    private readonly bytesMax: number,
    readonly sinceMs: number,
    /** Whether the first frame declares a dependency of the stream on itself. */
    readonly dependsOnItself: boolean,
  ) {}

  /** Adds a piece; returns the whole block with the last one. */
  add(piece: Buffer, flags: number): Buffer | undefined {
    this.pieces.push(Buffer.from(piece));
    this.bytes += piece.length;
    if (this.pieces.length > FRAMES_MAX || this.bytes > this.bytesMax) {
      throw new Http2Error(ErrorCode.enhanceYourCalm, "The header block is too long.");
    }
    return (flags & Flag.endHeaders) === 0 ? undefined : Buffer.concat(this.pieces, this.bytes);
  }
}
