/**
 * Remembers a value for an object, as a property of that object.
 *
 * A WeakMap would do the same, but the garbage collector visits each of its entries again and again: with the events of a bucket of a million
 * keys, that doubled its work. A copy of the object does not have the value.
 */
export class Attached<Owner extends object, Value> {
  private readonly property = Symbol("attached");

  get(owner: Owner): Value | undefined {
    const note = (owner as Attachable)[this.property] as Note<Value> | undefined;
    // A copy by `{ ...owner }` has the property too.
    return note?.owner === owner ? note.value : undefined;
  }

  set(owner: Owner, value: Value): void {
    const note: Note<Value> = { owner, value };
    (owner as Attachable)[this.property] = note;
  }
}

/** More bytes are not kept for their owner's sake. */
const LARGE_BYTES = 16_384;

/**
 * The same for an encoding of the object. A large one is kept only while something sends it, and until garbage is collected: an event that waits for
 * a slow watcher must not take the memory of the encodings that faster ones were sent.
 */
export class AttachedEncoding<Owner extends object> {
  private readonly attached = new Attached<Owner, Buffer | WeakRef<Buffer>>();

  get(owner: Owner): Buffer | undefined {
    const known = this.attached.get(owner);
    return known instanceof WeakRef ? known.deref() : known;
  }

  set(owner: Owner, encoding: Buffer): void {
    this.attached.set(owner, encoding.length > LARGE_BYTES ? new WeakRef(encoding) : encoding);
  }
}

interface Attachable {
  [property: symbol]: unknown;
}

interface Note<Value> {
  readonly owner: object;
  readonly value: Value;
}
