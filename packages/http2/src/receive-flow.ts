/** Flow control of what one stream, or the connection, receives: RFC 9113 section 5.2. */
export class ReceiveFlow {
  /** Bytes received and not consumed yet. */
  unconsumedBytes = 0;
  /** Bytes that the peer may still send. */
  private windowBytes: number;
  /** Bytes consumed and not returned to the peer by WINDOW_UPDATE yet. */
  private uncreditedBytes = 0;

  constructor(private readonly initialWindowBytes: number) {
    this.windowBytes = initialWindowBytes;
  }

  /** Counts received bytes; false if the peer exceeded the window. */
  receive(bytes: number): boolean {
    this.windowBytes -= bytes;
    this.unconsumedBytes += bytes;
    return this.windowBytes >= 0;
  }

  /** Counts consumed bytes. Returns the increment for a WINDOW_UPDATE, 0 while less than half a window was consumed. */
  consume(bytes: number): number {
    this.unconsumedBytes -= bytes;
    this.uncreditedBytes += bytes;
    if (this.uncreditedBytes < this.initialWindowBytes / 2) return 0;
    const increment = this.uncreditedBytes;
    this.windowBytes += increment;
    this.uncreditedBytes = 0;
    return increment;
  }
}
