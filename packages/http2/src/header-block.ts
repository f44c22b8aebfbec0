/** Assembles a header block that spans several frames: RFC 9113 section 6.10. */
import { ErrorCode, Flag } from "./codes.js";
import { Http2Error } from "./errors.js";

/** An allowed block fits in three frames. More of them, even empty ones, are a CONTINUATION flood (CVE-2024-27983). */
const FRAMES_MAX = 16;

/** For complete blocks, one after the other: each is decoded at once. */
let scratch = Buffer.alloc(0);

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

  /** Adds a piece; returns the whole block with the last one, in a buffer that the next block will use. */
  add(piece: Buffer, flags: number): Buffer | undefined {
    // Not from Node's pool, which a short piece would hold.
    const copy = Buffer.allocUnsafeSlow(piece.length);
    piece.copy(copy);
    this.pieces.push(copy);
    this.bytes += piece.length;
    if (this.pieces.length > FRAMES_MAX || this.bytes > this.bytesMax) {
      throw new Http2Error(ErrorCode.enhanceYourCalm, "The header block is too long.");
    }
    return (flags & Flag.endHeaders) === 0 ? undefined : this.joined();
  }

  private joined(): Buffer {
    if (this.bytes > scratch.length) scratch = Buffer.allocUnsafeSlow(this.bytes);
    let at = 0;
    for (const piece of this.pieces) at += piece.copy(scratch, at);
    return scratch.subarray(0, at);
  }
}
