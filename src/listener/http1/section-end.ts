/** Finds the end of a section of header fields, which may arrive in several pieces. */

const END = Buffer.from("\r\n\r\n");
const CR = 0x0d;
const LF = 0x0a;

export class SectionEnd {
  /** The last bytes, as many as an end that continues may have. */
  private tail = Buffer.alloc(0);
  /** Whether a line ended with a line feed alone, which Node's parser rejects. */
  isMalformed = false;

  /** Returns the position behind the section in `bytes`, from `at`; undefined if the section continues. */
  find(bytes: Buffer, at: number): number | undefined {
    const { tail } = this;
    const seam = Buffer.concat([tail, bytes.subarray(at, at + END.length - 1)]);
    const inSeam = seam.indexOf(END);
    if (inSeam >= 0) return at + inSeam + END.length - tail.length;
    const found = bytes.indexOf(END, at);
    if (found >= 0) return found + END.length;
    this.isMalformed ||= hasBareLf(bytes, at, tail.at(-1));
    const last = bytes.subarray(Math.max(at, bytes.length - END.length + 1));
    this.tail = Buffer.concat([tail, last]).subarray(-(END.length - 1));
    return undefined;
  }
}

/** Whether a line feed follows anything but a carriage return. `previous`: the byte before `at`. */
function hasBareLf(bytes: Buffer, at: number, previous: number | undefined): boolean {
  for (let found = bytes.indexOf(LF, at); found >= 0; found = bytes.indexOf(LF, found + 1))
    if ((found === at ? previous : bytes[found - 1]) !== CR) return true;
  return false;
}
