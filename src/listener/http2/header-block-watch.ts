/** Tells whether a part of a header block has arrived on an HTTP/2 connection (RFC 9113 sections 3.4, 4.1 and 6). */

const PREFACE_BYTES = 24;
const FRAME_HEADER_BYTES = 9;
const TYPE_AT = 3;
const FLAGS_AT = 4;
const HEADERS = 0x1;
const CONTINUATION = 0x9;
const END_HEADERS = 0x4;

export class HeaderBlockWatch {
  /** Bytes of the preface, or of the current frame's payload, that have not arrived. */
  private missing = PREFACE_BYTES;
  private readonly frameHeader = Buffer.alloc(FRAME_HEADER_BYTES);
  private frameHeaderBytes = 0;
  /** Whether the current frame begins or continues a header block. */
  private isInBlock = false;
  /** Whether the current frame ends the block. */
  private endsBlock = false;

  /** Whether a header block has begun and is not complete. */
  get isIncomplete(): boolean {
    return this.isInBlock && (this.missing > 0 || !this.endsBlock);
  }

  receive(bytes: Buffer): void {
    for (let at = 0; at < bytes.length;) {
      const taken = Math.min(this.missing, bytes.length - at);
      this.missing -= taken;
      at += taken;
      if (this.missing > 0) return;
      const copied = bytes.copy(
        this.frameHeader,
        this.frameHeaderBytes,
        at,
        at + FRAME_HEADER_BYTES - this.frameHeaderBytes,
      );
      this.frameHeaderBytes += copied;
      at += copied;
      if (this.frameHeaderBytes === FRAME_HEADER_BYTES) this.beginFrame();
    }
  }

  private beginFrame(): void {
    const { frameHeader } = this;
    this.frameHeaderBytes = 0;
    this.missing = frameHeader.readUIntBE(0, TYPE_AT);
    const type = frameHeader[TYPE_AT];
    this.isInBlock = type === HEADERS || type === CONTINUATION;
    this.endsBlock = ((frameHeader[FLAGS_AT] ?? 0) & END_HEADERS) !== 0;
  }
}
