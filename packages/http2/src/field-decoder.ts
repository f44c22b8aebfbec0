/** Decodes the header blocks of one connection: HPACK, https://www.rfc-editor.org/rfc/rfc7541. */
import { ErrorCode } from "./codes.js";
import { Http2Error } from "./errors.js";
import { decodeHuffman, lastDecoded } from "./huffman.js";
import { STATIC_COUNT, STATIC_NAMES, STATIC_VALUES } from "./static-table.js";

/** The size of the dynamic table: SETTINGS_HEADER_TABLE_SIZE, at its default (RFC 9113 section 6.5.2). */
export const TABLE_BYTES_MAX = 4_096;
/** Overhead of a table entry (RFC 7541 section 4.1). */
const ENTRY_OVERHEAD_BYTES = 32;
/** Larger lists are not remembered: idle connections would hold them. */
export const REMEMBERED_BYTES_MAX = 4_096;

/** Limits of a decoded header list. */
export interface FieldLimits {
  readonly bytesMax: number;
  readonly fieldsMax: number;
}

export class FieldDecoder {
  /** Names and values in turn, the oldest first. */
  private table: string[] = [];
  private tableBytes = 0;
  private tableBytesMax = TABLE_BYTES_MAX;
  private bytes: Buffer = EMPTY;
  private at = 0;
  private end = 0;
  private fields: string[] = [];
  private bytesMax = 0;
  /** The size of the strings of the current field that were skipped. */
  private skippedBytes = 0;
  /** The size of the last list (RFC 9113 section 6.5.2). */
  fieldBytes = 0;
  /** The last block that did not change the table, and its fields: clients often repeat a block. */
  private lastBlock: Buffer | undefined;
  private lastFields: readonly string[] = [];
  private lastFieldBytes = 0;

  constructor(private readonly limits: FieldLimits) {}

  /**
   * Returns names and values in turn; undefined if they exceed the limits or, unless they are remembered, `room`. Throws a connection error if
   * the block is malformed.
   */
  decode(bytes: Buffer, start: number, end: number, room = Infinity): readonly string[] | undefined {
    if (this.isLast(bytes, start, end)) {
      this.fieldBytes = this.lastFieldBytes;
      return this.lastFields;
    }
    this.lastBlock = undefined;
    this.lastFields = [];
    this.bytesMax = Math.min(this.limits.bytesMax, room);
    this.bytes = bytes;
    this.at = start;
    this.end = end;
    this.fields = [];
    this.fieldBytes = 0;
    let changesTable = false;
    let mayResize = true;
    while (this.at < end) {
      const byte = bytes[this.at] ?? 0;
      if (byte >= 0x80) {
        this.addIndexed(this.integer(7));
      } else if (byte >= 0x40) {
        this.addLiteral(6, true);
        changesTable = true;
      } else if (byte >= 0x20) {
        // Section 4.2: only at the beginning of a block.
        if (!mayResize) throw malformed("a table size update in the middle of a header block");
        this.resize(this.integer(5));
        changesTable = true;
        continue;
      } else {
        this.addLiteral(4, false);
      }
      mayResize = false;
    }
    this.bytes = EMPTY;
    const { fields, fieldBytes } = this;
    this.fields = [];
    if (fieldBytes > this.bytesMax || fields.length > 2 * this.limits.fieldsMax) return undefined;
    if (!changesTable && fieldBytes <= REMEMBERED_BYTES_MAX) {
      this.lastBlock = Buffer.from(bytes.subarray(start, end));
      this.lastFields = fields;
      this.lastFieldBytes = fieldBytes;
    }
    return fields;
  }

  private isLast(bytes: Buffer, start: number, end: number): boolean {
    const { lastBlock } = this;
    return lastBlock?.length === end - start && lastBlock.compare(bytes, start, end) === 0;
  }

  private addIndexed(index: number): void {
    if (index === 0) throw malformed("index 0");
    this.add(this.nameAt(index), this.valueAt(index));
  }

  private addLiteral(prefixBits: number, isIndexed: boolean): void {
    const index = this.integer(prefixBits);
    this.skippedBytes = 0;
    const name = index === 0 ? this.text(isIndexed) : this.nameAt(index);
    const value = this.text(isIndexed);
    const { skippedBytes } = this;
    if (skippedBytes === 0) {
      this.add(name, value);
      if (isIndexed) this.remember(name, value);
    } else {
      this.fieldBytes += name.length + value.length + skippedBytes + ENTRY_OVERHEAD_BYTES;
      // RFC 7541 section 4.4: an entry larger than the table empties it.
      if (isIndexed) this.clear();
    }
  }

  /** What is too much is counted, and not kept: the table must stay the same as the other side's. */
  private add(name: string, value: string): void {
    this.fieldBytes += name.length + value.length + ENTRY_OVERHEAD_BYTES;
    if (this.fieldBytes <= this.bytesMax) this.fields.push(name, value);
  }

  private clear(): void {
    this.table = [];
    this.tableBytes = 0;
  }

  private nameAt(index: number): string {
    const name =
      index <= STATIC_COUNT
        ? STATIC_NAMES[index - 1]
        : this.table[this.table.length - 2 * (index - STATIC_COUNT)];
    if (name === undefined) throw malformed(`index ${index} of no field`);
    return name;
  }

  private valueAt(index: number): string {
    const value =
      index <= STATIC_COUNT
        ? STATIC_VALUES[index - 1]
        : this.table[this.table.length - 2 * (index - STATIC_COUNT) + 1];
    return value ?? "";
  }

  private remember(name: string, value: string): void {
    this.table.push(name, value);
    this.tableBytes += name.length + value.length + ENTRY_OVERHEAD_BYTES;
    this.evict();
  }

  private resize(bytesMax: number): void {
    if (bytesMax > TABLE_BYTES_MAX) throw malformed(`a table of ${bytesMax} bytes`);
    this.tableBytesMax = bytesMax;
    this.evict();
  }

  private evict(): void {
    let gone = 0;
    while (this.tableBytes > this.tableBytesMax) {
      const name = this.table[gone] ?? "";
      const value = this.table[gone + 1] ?? "";
      this.tableBytes -= name.length + value.length + ENTRY_OVERHEAD_BYTES;
      gone += 2;
    }
    if (gone > 0) this.table.splice(0, gone);
  }

  /** Section 5.1. */
  private integer(prefixBits: number): number {
    const mask = (1 << prefixBits) - 1;
    let value = (this.bytes[this.at++] ?? 0) & mask;
    if (value < mask) return value;
    for (let shift = 0; shift <= 21; shift += 7) {
      if (this.at >= this.end) throw malformed("an integer without an end");
      const byte = this.bytes[this.at++] ?? 0;
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw malformed("an integer that is too large");
  }

  /** Section 5.2. Latin-1, like header fields in Node. Skips a string that neither the list nor the table has room for. */
  private text(isIndexed: boolean): string {
    if (this.at >= this.end) throw malformed("a string without an end");
    const isHuffman = ((this.bytes[this.at] ?? 0) & 0x80) !== 0;
    const codedLength = this.integer(7);
    const start = this.at;
    const end = start + codedLength;
    if (end > this.end) throw malformed("a string without an end");
    this.at = end;
    const length = isHuffman ? decodeHuffman(this.bytes, start, end) : codedLength;
    if (length === undefined) throw malformed("a string in no Huffman code");
    const isNeeded = this.fieldBytes + length <= this.bytesMax || (isIndexed && length <= TABLE_BYTES_MAX);
    if (!isNeeded) {
      this.skippedBytes += length;
      return "";
    }
    return isHuffman ? lastDecoded(length) : this.bytes.toString("latin1", start, end);
  }
}

const EMPTY = Buffer.alloc(0);

function malformed(what: string): Http2Error {
  return new Http2Error(ErrorCode.compressionError, `The header block has ${what}.`);
}
