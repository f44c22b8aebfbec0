/**
 * Follows a backup record by record: whether they come in their order, and what their sums are. Writing and reading go through the same
 * one, so that a file is complete exactly where both agree.
 *
 * The order: a header; for each bucket that it names a begin, the entries by revision, an end; a footer. Every byte is covered by a sum:
 * a bucket's frames by the one in its end; the first line, the header and the ends by the one in the footer.
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

/** A bucket of a backup, as far as it goes. */
export interface Section {
  readonly begin: BucketBegin;
  /** Entries so far. */
  entries: number;
  /** Those of them that an import writes: all but the expired. */
  writes: number;
  lastRevision: bigint;
  /** Absent: it is not complete. */
  end: BucketEnd | undefined;
}

export class Ledger {
  /** Where the next frame begins. */
  bytes = FIRST_LINE.length;
  header: Header | undefined;
  readonly sections: Section[] = [];
  entries = 0;
  /** Whether the footer has come. */
  isComplete = false;
  private readonly fileHash = createHash("sha256").update(FIRST_LINE);
  private sectionHash: Hash | undefined;

  /** The bucket that has begun and not ended. */
  get open(): Section | undefined {
    const last = this.sections.at(-1);
    return last?.end === undefined ? last : undefined;
  }

  /** The end of the open bucket, shown as it was at this revision. */
  endOf(section: Section, revision: bigint): Frame {
    const sha256 = this.sectionHash?.copy().digest() ?? Buffer.alloc(0);
    return frameOf({ case: "bucketEnd", value: { revision, entries: BigInt(section.entries), sha256 } });
  }

  footer(): Frame {
    return frameOf({ case: "footer", value: this.footerFields() });
  }

  /** Takes the next frame. Throws BackupError where it can't be that. */
  take({ record: { record }, bytes }: Frame): void {
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
        this.takeEntry(open, record.value, bytes);
        break;
      case "bucketEnd":
        this.takeEnd(open, record.value, bytes);
        break;
      case "footer":
        this.takeFooter(record.value);
        break;
      case undefined:
        throw damaged(at);
    }
    this.bytes += bytes.length;
  }

  /** Nothing more comes. Throws BackupError where something is missing. */
  finish(): void {
    if (!this.isComplete) throw new BackupError("cut", `The file is cut off at byte ${this.bytes}.`);
  }

  private takeEntry(open: Section | undefined, entry: BackupEntry, bytes: Uint8Array): void {
    const isKnown =
      entry.operation >= BackupOperation.PUT && entry.operation <= BackupOperation.EXPIRE && entry.key !== "";
    if (open === undefined || !isKnown || entry.revision <= open.lastRevision) throw damaged(this.bytes);
    this.sectionHash?.update(bytes);
    open.entries++;
    if (entry.operation !== BackupOperation.EXPIRE) open.writes++;
    open.lastRevision = entry.revision;
    this.entries++;
  }

  private takeEnd(open: Section | undefined, end: BucketEnd, bytes: Uint8Array): void {
    const isRight =
      open !== undefined &&
      end.entries === BigInt(open.entries) &&
      end.revision >= open.lastRevision &&
      this.sectionHash?.digest().equals(end.sha256) === true;
    if (!isRight) {
      const name = open?.begin.name ?? "";
      throw new BackupError("checksum", `The checksum of the bucket ${JSON.stringify(name)} is wrong.`);
    }
    open.end = end;
    this.fileHash.update(bytes);
  }

  private takeFooter(footer: Footer): void {
    const expected = this.footerFields();
    const isRight =
      this.sections.length === this.header?.buckets.length &&
      this.open === undefined &&
      footer.buckets === expected.buckets &&
      footer.entries === expected.entries &&
      footer.bytes === expected.bytes &&
      expected.sha256.equals(footer.sha256);
    if (!isRight) throw new BackupError("checksum", "The checksum of the file is wrong.");
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
