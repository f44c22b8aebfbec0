/**
 * What the entries of an index's keys have beside key, value, revision and time, as far as it fits into 32 bits of each: the nanoseconds within
 * the millisecond, and a media type. Entries with more are marked: only their message has it.
 */

const NANOS_BITS = 20;
const NANOS_MASK = 2 ** NANOS_BITS - 1;
/** Of an entry that has more than a media type, or one too many. */
const UNKNOWN = 2 ** (32 - NANOS_BITS) - 1;

/** What a message says of its entry. */
interface Described {
  readonly timeNanos: number;
  readonly onlyContentType: string | undefined;
}

export class KeyDetails {
  /** A detail has the position of its media type. */
  contentTypes: readonly string[] = [""];
  private positions = new Map([["", 0]]);

  of({ timeNanos, onlyContentType }: Described): number {
    return ((this.positionOf(onlyContentType) << NANOS_BITS) | timeNanos) >>> 0;
  }

  /** Undefined: the message must be read. */
  contentTypeOf(detail: number): string | undefined {
    return this.contentTypes[detail >>> NANOS_BITS];
  }

  nanosOf(detail: number): number {
    return detail & NANOS_MASK;
  }

  /** Takes the media types of the details that an index was restored with. */
  restore(contentTypes: readonly string[]): void {
    this.contentTypes = contentTypes;
    this.positions = new Map(contentTypes.map((contentType, position) => [contentType, position]));
  }

  private positionOf(contentType: string | undefined): number {
    if (contentType === undefined) return UNKNOWN;
    const known = this.positions.get(contentType);
    if (known !== undefined) return known;
    const position = this.contentTypes.length;
    if (position === UNKNOWN) return UNKNOWN;
    this.contentTypes = [...this.contentTypes, contentType];
    this.positions.set(contentType, position);
    return position;
  }
}
