/** Writes a backup record by record through the ledger, in large chunks. */
import type { Frame } from "./format.js";
import type { Ledger } from "./ledger.js";
import type { BackupSink } from "./sink.js";

const CHUNK_BYTES = 256 * 1_024;

export class BackupWriter {
  private buffered: Uint8Array[] = [];
  private bufferedBytes = 0;

  constructor(
    private readonly sink: BackupSink,
    readonly ledger: Ledger,
  ) {}

  /** Writes a record. Returns undefined if it was only buffered. */
  put(frame: Frame): Promise<void> | undefined {
    this.ledger.append(frame);
    this.buffered.push(frame.bytes);
    this.bufferedBytes += frame.bytes.length;
    return this.bufferedBytes < CHUNK_BYTES ? undefined : this.flush();
  }

  async commit(): Promise<void> {
    await this.flush();
    await this.sink.commit();
  }

  async suspend(): Promise<void> {
    await this.flush();
    await this.sink.suspend();
  }

  private async flush(): Promise<void> {
    const chunk = Buffer.concat(this.buffered);
    this.buffered = [];
    this.bufferedBytes = 0;
    if (chunk.length > 0) await this.sink.write(chunk);
  }
}
