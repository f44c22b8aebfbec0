/**
 * Checks the order and checksums of a backup's records. Writer and reader share it, so they agree on what a complete file is.
 *
 * The order: a header; for each bucket that it names, a begin, the entries by revision, and an end; a footer. Checksums cover every byte:
 * the one in a bucket's end covers the bucket's frames; the one in the footer covers the first line, the header and the ends.
 */
import { createHash, type Hash } from "node:crypto";
import type {
  BackupEntry,
  BucketBegin,
  BucketEnd,
  Footer,
  Header,
} from "../../gen/ironflow/kv/backup/v1/backup_pb.js";
import { BackupOperation } from "../../gen/ironflow/kv/backup/v1/backup_pb.js";
import { BackupError, damaged, FIRST_LINE, type Frame, frameOf } from "./format.js";

/** A bucket of a backup, possibly incomplete. */
export interface Section {
  readonly begin: BucketBegin;
  /** Entries so far. */
  entries: number;
  /** The entries that an import writes: all except expiries. */
  writes: number;
  lastRevision: bigint;
  /** Undefined: incomplete. */
  end: BucketEnd | undefined;
}

export class Ledger {
  /** The offset of the next frame. */
  bytes = FIRST_LINE.length;
  header: Header | undefined;
  readonly sections: Section[] = [];
  entries = 0;
  /** Whether the footer was read. */
  isComplete = false;
  private readonly fileHash = createHash("sha256").update(FIRST_LINE);
  private sectionHash: Hash | undefined;

  /** The bucket that has a begin and no end yet. */
  get open(): Section | undefined {
    const last = this.sections.at(-1);
    return last?.end === undefined ? last : undefined;
  }

  /** The end record of the open bucket. `revision`: the one whose state the backup has. */
  endOf(section: Section, revision: bigint): Frame {
    const sha256 = this.sectionHash?.copy().digest() ?? Buffer.alloc(0);
    return frameOf({ case: "bucketEnd", value: { revision, entries: BigInt(section.entries), sha256 } });
  }

  footer(): Frame {
    return frameOf({ case: "footer", value: this.footerFields() });
  }

  /** Checks the next frame and adds it. Throws BackupError if it is out of order or fails its checksum. */
  append({ record: { record }, bytes }: Frame): void {
    const at = this.bytes;
    if (this.isComplete || (this.header === undefined) !== (record.case === "header")) throw damaged(at);
    const { open } = this;
    switch (record.case) {
      case "header":
        this.header = record.value;
        this.fileHash.update(bytes);
        break;
      case "bucketBegin":
        if (open !== undefined || record.value.name !== this.header?.buckets[this.sections.length]) {
          throw damaged(at);
        }
        this.sections.push({ begin: record.value, entries: 0, writes: 0, lastRevision: 0n, end: undefined });
        this.sectionHash = createHash("sha256").update(bytes);
        break;
      case "entry":
        this.appendEntry(open, record.value, bytes);
        break;
      case "bucketEnd":
        this.appendEnd(open, record.value, bytes);
        break;
      case "footer":
        this.appendFooter(record.value);
        break;
      case undefined:
        throw damaged(at);
    }
    this.bytes += bytes.length;
  }

  /** Called at the end of the file. Throws BackupError if it is truncated. */
  finish(): void {
    if (!this.isComplete) throw new BackupError("truncated", `The file is truncated at byte ${this.bytes}.`);
  }

  private appendEntry(open: Section | undefined, entry: BackupEntry, bytes: Uint8Array): void {
    const isKnown =
      entry.operation >= BackupOperation.PUT && entry.operation <= BackupOperation.EXPIRE && entry.key !== "";
    if (open === undefined || !isKnown || entry.revision <= open.lastRevision) throw damaged(this.bytes);
    this.sectionHash?.update(bytes);
    open.entries++;
    if (entry.operation !== BackupOperation.EXPIRE) open.writes++;
    open.lastRevision = entry.revision;
    this.entries++;
  }

  private appendEnd(open: Section | undefined, end: BucketEnd, bytes: Uint8Array): void {
    const isValid =
      open !== undefined &&
      end.entries === BigInt(open.entries) &&
      end.revision >= open.lastRevision &&
      this.sectionHash?.digest().equals(end.sha256) === true;
    if (!isValid) {
      const name = open?.begin.name ?? "";
      throw new BackupError("checksum", `The checksum of the bucket ${JSON.stringify(name)} is wrong.`);
    }
    open.end = end;
    this.fileHash.update(bytes);
  }

  private appendFooter(footer: Footer): void {
    const expected = this.footerFields();
    const isValid =
      this.sections.length === this.header?.buckets.length &&
      this.open === undefined &&
      footer.buckets === expected.buckets &&
      footer.entries === expected.entries &&
      footer.bytes === expected.bytes &&
      expected.sha256.equals(footer.sha256);
    if (!isValid) throw new BackupError("checksum", "The checksum of the file is wrong.");
    this.isComplete = true;
  }

  private footerFields(): { buckets: number; entries: bigint; bytes: bigint; sha256: Buffer } {
    return {
      buckets: this.sections.length,
      entries: BigInt(this.entries),
      bytes: BigInt(this.bytes),
      sha256: this.fileHash.copy().digest(),
    };
  }
}
