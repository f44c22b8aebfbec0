/** Bytes to messages and back, for one method; what is malformed fails with the stock adapter's errors. */
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
  /** Throws ConnectError, also where the bytes are more than a message may have. */
  decode(isBinary: boolean, bytes: Uint8Array): Message;
  /** The message behind `headBytes` bytes for an envelope to fill. Throws ConnectError. */
  encode(isBinary: boolean, message: Message, headBytes: number): Buffer;
}

/** The most bytes that the library lets a message have: answers are ours and not limited. */
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
  // Options may ask for another form of JSON.
  const encodeJson = jsonOptions === undefined ? createJsonEncoder(method.output) : () => undefined;
  return {
    decode: (isBinary, bytes) => (isBinary ? binaryInput : jsonInput).parse(bytes),
    encode(isBinary, message, headBytes) {
      const quick = isBinary
        ? encodeBinary(message, headBytes)
        : textBehindHead(encodeJson(message), headBytes);
      return quick ?? behindHead((isBinary ? binaryOutput : jsonOutput).serialize(message), headBytes);
    },
  };
}

function textBehindHead(text: string | undefined, headBytes: number): Buffer | undefined {
  if (text === undefined) return undefined;
  const framed = Buffer.allocUnsafe(headBytes + Buffer.byteLength(text));
  framed.write(text, headBytes);
  return framed;
}

function behindHead(bytes: Uint8Array, headBytes: number): Buffer {
  if (headBytes === 0) return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const framed = Buffer.allocUnsafe(headBytes + bytes.length);
  framed.set(bytes, headBytes);
  return framed;
}
