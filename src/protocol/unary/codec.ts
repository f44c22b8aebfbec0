/** Bytes to messages and back, for one method; what is malformed fails with the stock adapter's errors. */
import type {
  DescMessage,
  DescMethodUnary,
  JsonReadOptions,
  JsonWriteOptions,
  MessageShape,
} from "@bufbuild/protobuf";
import { createMethodSerializationLookup } from "@connectrpc/connect/protocol";

export type Message = MessageShape<DescMessage>;

export type JsonOptions = Partial<JsonReadOptions & JsonWriteOptions>;

export interface MethodCodec {
  /** Throws ConnectError, also where the bytes are more than a message may have. */
  decode(isBinary: boolean, bytes: Uint8Array): Message;
  /** Throws ConnectError. */
  encode(isBinary: boolean, message: Message): Uint8Array;
}

/** The most bytes that the library lets a message have: answers are ours and not limited. */
const WRITE_BYTES_MAX = 0xffffffff;

export function createMethodCodec(
  method: DescMethodUnary,
  messageBytesMax: number,
  jsonOptions: JsonOptions | undefined,
): MethodCodec {
  const lookup = createMethodSerializationLookup(method, undefined, jsonOptions, {
    readMaxBytes: messageBytesMax,
    writeMaxBytes: WRITE_BYTES_MAX,
  });
  const binaryInput = lookup.getI(true);
  const binaryOutput = lookup.getO(true);
  const jsonInput = lookup.getI(false);
  const jsonOutput = lookup.getO(false);
  return {
    decode: (isBinary, bytes) => (isBinary ? binaryInput : jsonInput).parse(bytes),
    encode: (isBinary, message) => (isBinary ? binaryOutput : jsonOutput).serialize(message),
  };
}
