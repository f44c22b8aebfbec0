/**
 * Which of the wanted values have been found so far. Of most entries, the key index knows all but the value: then the headers of their messages
 * are not read, and only the value's bytes are kept. An entry is created each time that it is asked for: of 100,000 that are held until they are
 * encoded, their objects would take more memory than their values, and much of the garbage collector's time.
 */
import type { Entry } from "../../kv/entry.js";
import type { Frame } from "../client/frames.js";
import { HeaderBlock, NO_HEADERS } from "../client/messages.js";
import type { Reply } from "../client/requests.js";
import { parseTimestamp } from "../client/timestamps.js";
import { entryOfKey, plainEntry } from "../streams/records.js";
import type { Delivery } from "./delivery.js";
import { PlacesByRevision } from "./places-by-revision.js";
import { KeptValues } from "./kept-values.js";
import type { ReadOptions, ReadValues, WantedValue } from "./value-reader.js";

export class FoundValues implements ReadValues {
  newest = 0;
  /** By key: its place in `wanted`. Made for the first entry of which only the key is known. */
  private placesByKey: ReadonlyMap<string, number> | undefined;
  private readonly places: PlacesByRevision;
  private readonly values: KeptValues;
  /** By place: entries with more than a value and a media type, or of which no more was known than the key. */
  private readonly entries = new Map<number, Entry>();
  /** Places of keys of which a later revision was seen. */
  private readonly overwritten = new Set<number>();

  constructor(
    readonly wanted: readonly WantedValue[],
    private readonly contentTypeOf: NonNullable<ReadOptions["contentTypeOf"]>,
  ) {
    this.places = new PlacesByRevision(wanted);
    this.values = new KeptValues(wanted.length);
  }

  /** The revisions of what is wanted, in their order. */
  get revisions(): Float64Array {
    return this.places.revisions;
  }

  has(place: number): boolean {
    return this.values.has(place) || this.entries.has(place);
  }

  entryAt(place: number): Entry | undefined {
    const data = this.values.at(place);
    if (data === undefined) return this.entries.get(place);
    const { key, revision, timeMs, detail } = this.wanted[place] as WantedValue;
    const stored = { data, revision: BigInt(revision), timeMs, timeNanos: this.values.nanosAt(place) };
    return plainEntry(key, stored, this.contentTypeOf(detail) ?? "");
  }

  /** Takes a delivered message, if it is a wanted value. */
  acceptFrame({ bytes, headerBytes, payloadStart, payloadEnd }: Frame, delivery: Delivery): void {
    const { streamSequence, timeMs, timeNanos } = delivery;
    const place = this.placeOf(streamSequence, timeMs);
    if (place < 0) return;
    const { key, detail } = this.wanted[place] as WantedValue;
    this.note(streamSequence);
    if (this.contentTypeOf(detail) !== undefined) {
      this.values.keep(place, bytes, payloadStart + headerBytes, payloadEnd, timeNanos);
      return;
    }
    const text = Buffer.from(bytes.buffer, bytes.byteOffset + payloadStart, headerBytes).toString("latin1");
    const headers = headerBytes === 0 ? NO_HEADERS : new HeaderBlock(text);
    const data = new Uint8Array(bytes.subarray(payloadStart + headerBytes, payloadEnd));
    const revision = BigInt(streamSequence);
    this.entries.set(place, entryOfKey(key, { data, revision, timeMs, timeNanos, headers }));
  }

  /** Takes the answer to a direct get, if it is a wanted value without anything beside it but a media type. */
  acceptMessage({ headers, data }: Reply, sequence: number): boolean {
    const { ms: timeMs, nanos: timeNanos } = parseTimestamp(headers.last("Nats-Time-Stamp"));
    const place = this.placeOf(sequence, timeMs);
    if (place < 0 || this.contentTypeOf((this.wanted[place] as WantedValue).detail) === undefined)
      return false;
    this.note(sequence);
    this.values.keep(place, data, 0, data.length, timeNanos);
    return true;
  }

  /** Adds an entry of one of the keys, which may be of another revision than the wanted one. */
  add(entry: Entry): void {
    this.placesByKey ??= new Map(this.wanted.map(({ key }, place) => [key, place]));
    const place = this.placesByKey.get(entry.key);
    if (place === undefined) return;
    const wanted = this.wanted[place] as WantedValue;
    const revision = Number(entry.revision);
    this.note(revision);
    if (isSame(entry, wanted)) this.entries.set(place, entry);
    else if (revision > wanted.revision) this.overwritten.add(place);
  }

  /** -1: it is not wanted. */
  private placeOf(revision: number, timeMs: number): number {
    const place = this.places.of(revision);
    return place >= 0 && (this.wanted[place] as WantedValue).timeMs === timeMs ? place : -1;
  }

  private note(revision: number): void {
    if (revision > this.newest) this.newest = revision;
  }

  notFound(): readonly WantedValue[] {
    return this.wanted.filter((_, place) => !this.has(place));
  }

  /** Those that may still be stored. `seeksOlder`: also where a later revision of the key was seen. */
  missing(seeksOlder: boolean): readonly WantedValue[] {
    return this.wanted.filter((_, place) => !this.has(place) && (seeksOlder || !this.overwritten.has(place)));
  }
}

/** Whether an entry is the value that the index knows. */
export function isSame(
  entry: Entry,
  { revision, timeMs }: Pick<WantedValue, "revision" | "timeMs">,
): boolean {
  return Number(entry.revision) === revision && entry.createdAtMs === timeMs;
}
