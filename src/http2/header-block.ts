/** Puts together a header block that comes in several frames: RFC 9113 section 6.10. */
import { ErrorCode, Flag } from "./codes.js";
import { Http2Violation } from "./violations.js";

/** A block that is allowed fits in three. More, also of empty ones, are an attack (CVE-2024-27983). */
const FRAMES_MAX = 16;

/** A block whose end has not come. */
export class HeaderBlock {
  /** Whether the priority in its first frame is malformed. */
  dependsOnItself = false;
  private readonly pieces: Buffer[] = [];
  private bytes = 0;

  constructor(
    readonly streamId: number,
    /** Those of the first frame. */
    readonly flags: number,
    private readonly bytesMax: number,
    readonly sinceMs: number,
  ) {}

  /** The whole, where this was the last piece. */
  add(piece: Buffer, flags: number): Buffer | undefined {
    this.pieces.push(Buffer.from(piece));
    this.bytes += piece.length;
    if (this.pieces.length > FRAMES_MAX || this.bytes > this.bytesMax) {
      throw new Http2Violation(ErrorCode.enhanceYourCalm, "A header block does not end.");
    }
    return (flags & Flag.endHeaders) === 0 ? undefined : Buffer.concat(this.pieces, this.bytes);
  }
}
