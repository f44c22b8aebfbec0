/** Finds the places of wanted values by their revisions. A sorted array takes a tenth of the memory of a map. */

/** The numbers up to which a revision and a place fit into one number together. */
const PACKED_MAX = Number.MAX_SAFE_INTEGER;

export class PlacesByRevision {
  /** Ascending. */
  readonly revisions: Float64Array;
  /** The place of each of them. */
  private readonly places: Uint32Array;
  /** Messages of a pass arrive in order: the next one is probably the next here. */
  private next = 0;

  constructor(wanted: readonly { readonly revision: number }[]) {
    const count = wanted.length;
    this.revisions = new Float64Array(count);
    this.places = new Uint32Array(count);
    let [first, last] = [Infinity, 0];
    for (const { revision } of wanted) {
      if (revision < first) first = revision;
      if (revision > last) last = revision;
    }
    if ((last - first + 1) * count <= PACKED_MAX) this.sortPacked(wanted, first);
    else this.sortPlaces(wanted);
  }

  /** -1: there is none. */
  of(revision: number): number {
    const { revisions, places } = this;
    if (revisions[this.next] !== revision) this.next = this.search(revision);
    if (revisions[this.next] !== revision) return -1;
    return places[this.next++] as number;
  }

  /** The index of the first revision that is not below this one. */
  private search(revision: number): number {
    const { revisions } = this;
    let [low, high] = [0, revisions.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((revisions[middle] as number) < revision) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Sorts numbers, which is several times faster than to sort by a function. */
  private sortPacked(wanted: readonly { readonly revision: number }[], first: number): void {
    const { revisions, places } = this;
    const count = wanted.length;
    for (let place = 0; place < count; place++)
      revisions[place] = ((wanted[place] as { revision: number }).revision - first) * count + place;
    revisions.sort();
    for (let at = 0; at < count; at++) {
      const packed = revisions[at] as number;
      const place = packed % count;
      places[at] = place;
      revisions[at] = (packed - place) / count + first;
    }
  }

  private sortPlaces(wanted: readonly { readonly revision: number }[]): void {
    const { revisions, places } = this;
    const revisionOf = (place: number): number => (wanted[place] as { revision: number }).revision;
    for (let place = 0; place < wanted.length; place++) places[place] = place;
    places.sort((left, right) => revisionOf(left) - revisionOf(right));
    for (let at = 0; at < wanted.length; at++) revisions[at] = revisionOf(places[at] as number);
  }
}
