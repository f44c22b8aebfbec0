/** Finds the end of a chunked body (RFC 9112 section 7.1). Accepts more than the syntax allows: Node's parser, which reads the same bytes, rejects the rest. */

const CR = 0x0d;
const SEMICOLON = 0x3b;
const LINE_END_BYTES = 2;

export class ChunkedBody {
  private part: "size" | "extension" | "line end" | "data" = "size";
  private digits = 0;
  private size = 0;
  /** Bytes of the chunk, and of the line end behind it, that have not arrived. */
  private missing = 0;
  /** Whether the last chunk has arrived, up to the line end that precedes the trailer section. */
  isAtTrailers = false;

  /** Returns the position in `bytes`, from `at`, where the body ends; their length if it continues. */
  scan(bytes: Buffer, at: number): number {
    let position = at;
    while (position < bytes.length) {
      if (this.part === "data") {
        const taken = Math.min(this.missing, bytes.length - position);
        position += taken;
        this.missing -= taken;
        if (this.missing === 0) this.part = "size";
        continue;
      }
      const byte = bytes[position] ?? 0;
      if (this.part === "line end") this.beginData();
      else if (byte === CR && this.digits > 0 && this.size === 0) {
        this.isAtTrailers = true;
        return position;
      } else if (byte === CR) this.part = "line end";
      else if (this.part === "size") this.readDigit(byte);
      position++;
    }
    return position;
  }

  private readDigit(byte: number): void {
    if (byte === SEMICOLON) {
      this.part = "extension";
      return;
    }
    this.digits++;
    this.size = this.size * 16 + Number.parseInt(String.fromCharCode(byte), 16);
  }

  private beginData(): void {
    this.part = "data";
    this.missing = this.size + LINE_END_BYTES;
    this.digits = 0;
    this.size = 0;
  }
}
