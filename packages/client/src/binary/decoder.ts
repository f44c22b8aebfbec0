/**
 * Decodes messages by decoders that are compiled once per message type: several times faster than the library, which walks the descriptor for every
 * message. The result equals the library's, which a property test checks; message fields that are
 * not set are properties with the value undefined.
 */
import {
  create,
  type DescField,
  type DescMessage,
  fromBinary,
  type Message,
  type MessageShape,
  ScalarType,
} from "@bufbuild/protobuf";
import {
  DEPTH_MAX,
  type Fields,
  isSupportedField,
  isSupportedType,
  MAP_KEY_TAG,
  MAP_VALUE_TAG,
  type Oneof,
  tagOf,
  UNSUPPORTED,
} from "./field-kinds.js";
import { WireReader } from "./wire-reader.js";

/** Reads a field's value, without its tag, and stores it. */
type ReadField = (fields: Fields, depth: number) => void;

/** A value that messages must not share: a list, a map or a oneof. */
interface UnsharedValue {
  readonly name: string;
  readonly create: () => object;
}

/** Decoding is synchronous, so all decoders share one reader. */
const reader = new WireReader();

const decoders = new WeakMap<DescMessage, MessageDecoder>();

/** Decodes a message. Its bytes fields are parts of the input. Throws the library's errors. */
export function decodeMessage<Desc extends DescMessage>(desc: Desc, bytes: Buffer): MessageShape<Desc> {
  try {
    reader.reset(bytes);
    return decoderOf(desc).decode(0) as MessageShape<Desc>;
  } catch (error) {
    // TypeError: a text is not UTF-8.
    if (error !== UNSUPPORTED && !(error instanceof TypeError)) throw error;
    return fromBinary(desc, new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length));
  }
}

function decoderOf(desc: DescMessage): MessageDecoder {
  let decoder = decoders.get(desc);
  if (decoder === undefined) {
    decoder = new MessageDecoder(desc);
    decoders.set(desc, decoder);
  }
  return decoder;
}

class MessageDecoder {
  /** Has every property, so that all messages of the type have one hidden class: adding one costs more than decoding its value. */
  private readonly template: Message;
  private readonly unshared: UnsharedValue[] = [];
  /** By tag. */
  private readonly readers: (ReadField | undefined)[] = [];

  constructor(desc: DescMessage) {
    if (!isSupportedType(desc)) throw UNSUPPORTED;
    this.template = create(desc);
    const fields: Fields = this.template;
    for (const member of desc.members) {
      const name = member.localName;
      if (member.kind === "oneof") this.unshared.push({ name, create: () => ({ case: undefined }) });
      else if (member.fieldKind === "list") this.unshared.push({ name, create: () => [] });
      else if (member.fieldKind === "map") this.unshared.push({ name, create: () => ({}) });
      else if (member.fieldKind !== "message") continue;
      fields[name] = undefined;
    }
    for (const field of desc.fields) {
      if (isSupportedField(field) && field.number < 2048) this.readers[tagOf(field)] = readerOf(field);
    }
  }

  /** Reads to the end of the current message. */
  decode(depth: number): Message {
    const message = { ...this.template };
    const fields: Fields = message;
    while (!reader.isAtEnd) {
      const read = this.readers[reader.uint32()];
      if (read === undefined) throw UNSUPPORTED;
      read(fields, depth);
    }
    for (const { name, create } of this.unshared) fields[name] ??= create();
    return message;
  }
}

function readerOf(field: DescField): ReadField {
  const name = field.localName;
  if (field.fieldKind === "map") return (fields) => readPair((fields[name] ??= {}) as Record<string, string>);
  const read = valueReaderOf(field);
  if (field.fieldKind === "list") {
    return (fields, depth) => {
      ((fields[name] ??= []) as unknown[]).push(read(depth));
    };
  }
  const isMessage = field.fieldKind === "message";
  if (field.oneof !== undefined) {
    const oneof = field.oneof.localName;
    return (fields, depth) => {
      // The library merges a message that appears twice.
      if (isMessage && (fields[oneof] as Oneof | undefined)?.case === name) throw UNSUPPORTED;
      fields[oneof] = { case: name, value: read(depth) };
    };
  }
  return (fields, depth) => {
    if (isMessage && fields[name] !== undefined) throw UNSUPPORTED;
    fields[name] = read(depth);
  };
}

function valueReaderOf(field: DescField): (depth: number) => unknown {
  const { message: desc } = field;
  if (desc !== undefined) {
    return (depth) => {
      if (depth >= DEPTH_MAX) throw UNSUPPORTED;
      const outerEnd = reader.enter();
      const message = decoderOf(desc).decode(depth + 1);
      reader.leave(outerEnd);
      return message;
    };
  }
  const isStrict = "utf8Validation" in field && field.utf8Validation;
  switch (field.scalar) {
    case ScalarType.STRING:
      return () => reader.text(isStrict);
    case ScalarType.BYTES:
      return () => reader.data();
    case ScalarType.BOOL:
      return () => reader.bool();
    case ScalarType.UINT32:
      return () => reader.uint32();
    case ScalarType.INT64:
    case ScalarType.UINT64:
      return () => reader.bigint();
    default:
      return () => reader.positiveInt32();
  }
}

/** An entry of a map of text. */
function readPair(map: Record<string, string>): void {
  const outerEnd = reader.enter();
  let key = "";
  let value = "";
  while (!reader.isAtEnd) {
    const tag = reader.uint32();
    if (tag === MAP_KEY_TAG) key = reader.text(true);
    else if (tag === MAP_VALUE_TAG) value = reader.text(true);
    else throw UNSUPPORTED;
  }
  reader.leave(outerEnd);
  map[key] = value;
}
