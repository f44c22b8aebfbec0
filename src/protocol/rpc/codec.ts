/** Encodes and decodes the messages of one method. Malformed input fails with the stock adapter's errors. */
import type {
  DescMessage,
  DescMethodServerStreaming,
  DescMethodUnary,
  JsonReadOptions,
  JsonWriteOptions,
  MessageShape,
} from "@bufbuild/protobuf";
import { createBinaryEncoder } from "./binary-encoder.js";
import { createJsonEncoder } from "./json-encoder.js";
import { createMethodSerializationLookup } from "@connectrpc/connect/protocol";

export type Message = MessageShape<DescMessage>;

export type JsonOptions = Partial<JsonReadOptions & JsonWriteOptions>;

export interface MethodCodec {
  /** Throws ConnectError if the bytes are malformed or exceed the message limit. */
  decode(isBinary: boolean, bytes: Uint8Array): Message;
  /** Encodes the message after `headBytes` free bytes for an envelope's head. Throws ConnectError. */
  encode(isBinary: boolean, message: Message, headBytes: number): Buffer;
}

/** The library's maximum: responses are not limited here. */
const WRITE_BYTES_MAX = 0xffffffff;

export function createMethodCodec(
  method: DescMethodUnary | DescMethodServerStreaming,
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
  const encodeBinary = createBinaryEncoder(method.output);
  // With options, the JSON may differ from the compiled encoder's.
  const encodeJson = jsonOptions === undefined ? createJsonEncoder(method.output) : () => undefined;
  return {
    decode: (isBinary, bytes) => (isBinary ? binaryInput : jsonInput).parse(bytes),
    encode(isBinary, message, headBytes) {
      const quick = isBinary ? encodeBinary(message, headBytes) : encodeJson(message, headBytes);
      return quick ?? bytesAfterHead((isBinary ? binaryOutput : jsonOutput).serialize(message), headBytes);
    },
  };
}

function bytesAfterHead(bytes: Uint8Array, headBytes: number): Buffer {
  if (headBytes === 0) return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const framed = Buffer.allocUnsafe(headBytes + bytes.length);
  framed.set(bytes, headBytes);
  return framed;
}
