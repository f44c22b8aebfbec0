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

interface Attachable {
  [property: symbol]: unknown;
}

interface Note<Value> {
  readonly owner: object;
  readonly value: Value;
}
