/** Encodes and decodes the messages of one method. Malformed input fails with the stock adapter's errors. */
import type {
  DescMessage,
  DescMethodServerStreaming,
  DescMethodUnary,
  JsonReadOptions,
  JsonWriteOptions,
  MessageShape,
} from "@bufbuild/protobuf";
import { ScanResponseSchema, WatchResponseSchema } from "../../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { type BinaryEncoder, createBinaryEncoder } from "./binary-encoder.js";
import { createJsonWriter } from "./json-encoder.js";
import { encodeScan } from "./scan-encoder.js";
import { encodeChange } from "./watch-encoder.js";
import { LargeValues } from "../large-values.js";
import { createMethodSerializationLookup } from "@connectrpc/connect/protocol";

export type Message = MessageShape<DescMessage>;

export type JsonOptions = Partial<JsonReadOptions & JsonWriteOptions>;

export interface MethodCodec {
  /** Throws ConnectError if the bytes are malformed or exceed the message limit. */
  decode(isBinary: boolean, bytes: Uint8Array): Message;
  /** Encodes the message after `headBytes` free bytes for an envelope's head. Throws ConnectError. */
  encode(isBinary: boolean, message: Message, headBytes: number): Buffer;
  /** The same, in turns of the event loop if the message has large values: see `LargeValues.encodeInTurns`. */
  encodeInTurns(
    isBinary: boolean,
    message: Message,
    headBytes: number,
    flow: unknown,
  ): Buffer | Promise<Buffer>;
}

/** The library's maximum: responses are not limited here. */
const WRITE_BYTES_MAX = 0xffffffff;

/** Encoders of what has many entries, by message type. */
const ENTRY_ENCODERS: Readonly<Partial<Record<string, BinaryEncoder>>> = {
  [ScanResponseSchema.typeName]: encodeScan,
  [WatchResponseSchema.typeName]: encodeChange,
};

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
  const encodeMessage = createBinaryEncoder(method.output);
  const encodeEntries = ENTRY_ENCODERS[method.output.typeName];
  const encodeBinary: BinaryEncoder =
    encodeEntries === undefined
      ? encodeMessage
      : (message, headBytes) => encodeEntries(message, headBytes) ?? encodeMessage(message, headBytes);
  // With options, the JSON may differ from the compiled writer's.
  const writeJson = jsonOptions === undefined ? createJsonWriter(method.output) : () => undefined;
  const encodeByLibrary = (isBinary: boolean, message: Message, headBytes: number): Buffer =>
    bytesAfterHead((isBinary ? binaryOutput : jsonOutput).serialize(message), headBytes);
  return {
    decode: (isBinary, bytes) => (isBinary ? binaryInput : jsonInput).parse(bytes),
    encode(isBinary, message, headBytes) {
      if (isBinary) return encodeBinary(message, headBytes) ?? encodeByLibrary(true, message, headBytes);
      const large = new LargeValues();
      const text = writeJson(message, large);
      return text === undefined ? encodeByLibrary(false, message, headBytes) : large.encode(text, headBytes);
    },
    encodeInTurns(isBinary, message, headBytes, flow) {
      if (isBinary) return this.encode(true, message, headBytes);
      const large = new LargeValues();
      const text = writeJson(message, large);
      return text === undefined
        ? encodeByLibrary(false, message, headBytes)
        : large.encodeInTurns(text, flow, headBytes);
    },
  };
}

function bytesAfterHead(bytes: Uint8Array, headBytes: number): Buffer {
  if (headBytes === 0) return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const framed = Buffer.allocUnsafe(headBytes + bytes.length);
  framed.set(bytes, headBytes);
  return framed;
}
