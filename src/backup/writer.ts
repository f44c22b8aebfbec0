/** Writes a backup record by record through the ledger, in large chunks. */
import type { Frame } from "./format.js";
import type { Ledger } from "./ledger.js";
import type { BackupSink } from "./sink.js";

const PIECE_BYTES = 256 * 1_024;

export class BackupWriter {
  private waiting: Uint8Array[] = [];
  private waitingBytes = 0;

  constructor(
    private readonly sink: BackupSink,
    readonly ledger: Ledger,
  ) {}

  /** Writes a record; undefined if it is only buffered. */
  put(frame: Frame): Promise<void> | undefined {
    this.ledger.take(frame);
    this.waiting.push(frame.bytes);
    this.waitingBytes += frame.bytes.length;
    return this.waitingBytes < PIECE_BYTES ? undefined : this.flush();
  }

  async commit(): Promise<void> {
    await this.flush();
    await this.sink.commit();
  }

  async park(): Promise<void> {
    await this.flush();
    await this.sink.park();
  }

  private async flush(): Promise<void> {
    const piece = Buffer.concat(this.waiting);
    this.waiting = [];
    this.waitingBytes = 0;
    if (piece.length > 0) await this.sink.write(piece);
  }
}
