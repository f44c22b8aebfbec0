/**
 * Which of the wanted values have been found so far. Of most entries, the key index knows all but the value: then the headers of their messages
 * are not read.
 */
import type { Entry } from "../../kv/entry.js";
import type { Frame } from "../client/frames.js";
import { HeaderBlock, NO_HEADERS } from "../client/messages.js";
import type { Reply } from "../client/requests.js";
import { parseTimestamp } from "../client/timestamps.js";
import { entryOfKey, plainEntry } from "../streams/records.js";
import type { Delivery } from "./delivery.js";
import { ValueBlocks } from "./value-blocks.js";
import type { ReadOptions, ReadValues, WantedValue } from "./value-reader.js";

export class FoundValues implements ReadValues {
  readonly entries: (Entry | undefined)[];
  newest = 0;
  /** By key: its place in `wanted`. Made for the first entry of which only the key is known. */
  private places: ReadonlyMap<string, number> | undefined;
  private readonly placesByRevision = new Map<number, number>();
  private readonly blocks = new ValueBlocks();
  /** Places of keys of which a later revision was seen. */
  private readonly overwritten = new Set<number>();

  constructor(
    readonly wanted: readonly WantedValue[],
    private readonly contentTypeOf: NonNullable<ReadOptions["contentTypeOf"]>,
  ) {
    this.entries = new Array<Entry | undefined>(wanted.length).fill(undefined);
    for (let place = 0; place < wanted.length; place++)
      this.placesByRevision.set((wanted[place] as WantedValue).revision, place);
  }

  /** Takes a delivered message, if it is a wanted value. */
  acceptFrame({ bytes, headerBytes, payloadStart, payloadEnd }: Frame, delivery: Delivery): void {
    const { streamSequence, timeMs, timeNanos } = delivery;
    const place = this.placeOf(streamSequence, timeMs);
    if (place === undefined) return;
    const { key, detail } = this.wanted[place] as WantedValue;
    const data = this.blocks.copy(bytes, payloadStart + headerBytes, payloadEnd);
    const stored = { data, revision: BigInt(streamSequence), timeMs, timeNanos };
    const contentType = this.contentTypeOf(detail);
    if (contentType !== undefined) {
      this.accept(place, plainEntry(key, stored, contentType));
      return;
    }
    const text = Buffer.from(bytes.buffer, bytes.byteOffset + payloadStart, headerBytes).toString("latin1");
    const headers = headerBytes === 0 ? NO_HEADERS : new HeaderBlock(text);
    this.accept(place, entryOfKey(key, { ...stored, headers }));
  }

  /** Takes the answer to a direct get, if it is a wanted value without anything beside it but a media type. */
  acceptMessage({ headers, data }: Reply, sequence: number): boolean {
    const { ms: timeMs, nanos: timeNanos } = parseTimestamp(headers.last("Nats-Time-Stamp"));
    const place = this.placeOf(sequence, timeMs);
    if (place === undefined) return false;
    const { key, detail } = this.wanted[place] as WantedValue;
    const contentType = this.contentTypeOf(detail);
    if (contentType === undefined) return false;
    const copy = this.blocks.copy(data, 0, data.length);
    const stored = { data: copy, revision: BigInt(sequence), timeMs, timeNanos };
    this.accept(place, plainEntry(key, stored, contentType));
    return true;
  }

  /** Adds an entry of one of the keys, which may be of another revision than the wanted one. */
  add(entry: Entry): void {
    this.places ??= new Map(this.wanted.map(({ key }, place) => [key, place]));
    const place = this.places.get(entry.key);
    if (place === undefined) return;
    const wanted = this.wanted[place] as WantedValue;
    const revision = Number(entry.revision);
    if (revision > this.newest) this.newest = revision;
    if (isSame(entry, wanted)) this.entries[place] = entry;
    else if (revision > wanted.revision) this.overwritten.add(place);
  }

  private placeOf(revision: number, timeMs: number): number | undefined {
    const place = this.placesByRevision.get(revision);
    if (place === undefined) return undefined;
    return (this.wanted[place] as WantedValue).timeMs === timeMs ? place : undefined;
  }

  private accept(place: number, entry: Entry): void {
    const { revision } = this.wanted[place] as WantedValue;
    if (revision > this.newest) this.newest = revision;
    this.entries[place] = entry;
  }

  notFound(): readonly WantedValue[] {
    return this.wanted.filter((_, place) => this.entries[place] === undefined);
  }

  /** Those that may still be stored. `seeksOlder`: also where a later revision of the key was seen. */
  missing(seeksOlder: boolean): readonly WantedValue[] {
    const { entries, overwritten } = this;
    return this.wanted.filter(
      (_, place) => entries[place] === undefined && (seeksOlder || !overwritten.has(place)),
    );
  }
}

/** Whether an entry is the value that the index knows. */
export function isSame(
  entry: Entry,
  { revision, timeMs }: Pick<WantedValue, "revision" | "timeMs">,
): boolean {
  return Number(entry.revision) === revision && entry.createdAtMs === timeMs;
}
