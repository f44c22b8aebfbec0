/** The wire formats of the fast path: how to detect each from a request, and the headers of its responses. */
import type { IncomingHttpHeaders } from "node:http";
import { END_STREAM_FLAG, TRAILER_FLAG } from "./envelope.js";

/** One protocol with one codec. */
export interface WireForm {
  readonly door: "grpc" | "grpc-web" | "connect";
  /** Protobuf's binary format; otherwise ProtoJSON. */
  readonly isBinary: boolean;
  /** The content type of responses. */
  readonly contentType: string;
  /** Whether messages are in envelopes; otherwise the body is the message. */
  readonly isEnveloped: boolean;
  /** The flag of the envelope that ends the stream; 0: the protocol has none. In a request, such an envelope is ignored. */
  readonly endFlag: number;
  readonly timeoutHeader: "grpc-timeout" | "connect-timeout-ms";
  /** Names the compression of messages. */
  readonly encodingHeader: "grpc-encoding" | "content-encoding" | "connect-content-encoding";
  /** Lists the compressions that the client accepts. */
  readonly acceptEncodingHeader: "grpc-accept-encoding" | "accept-encoding" | "connect-accept-encoding";
}

function grpc(door: "grpc" | "grpc-web", codec: "proto" | "json"): WireForm {
  return {
    door,
    isBinary: codec === "proto",
    contentType: `application/${door}+${codec}`,
    isEnveloped: true,
    endFlag: door === "grpc" ? 0 : TRAILER_FLAG,
    timeoutHeader: "grpc-timeout",
    encodingHeader: "grpc-encoding",
    acceptEncodingHeader: "grpc-accept-encoding",
  };
}

function connect(codec: "proto" | "json"): WireForm {
  return {
    door: "connect",
    isBinary: codec === "proto",
    contentType: `application/${codec}`,
    isEnveloped: false,
    endFlag: 0,
    timeoutHeader: "connect-timeout-ms",
    encodingHeader: "content-encoding",
    acceptEncodingHeader: "accept-encoding",
  };
}

function connectStream(codec: "proto" | "json"): WireForm {
  return {
    ...connect(codec),
    contentType: `application/connect+${codec}`,
    isEnveloped: true,
    endFlag: END_STREAM_FLAG,
    encodingHeader: "connect-content-encoding",
    acceptEncodingHeader: "connect-accept-encoding",
  };
}

export const CONNECT_PROTO = connect("proto");
export const CONNECT_JSON = connect("json");

/**
 * By content type, in the spellings that clients send. The stock adapter handles equivalent ones (capitals, more parameters) and
 * grpc-web-text.
 */
const GRPC_FORMS: readonly (readonly [string, WireForm])[] = [
  ["application/grpc", grpc("grpc", "proto")],
  ["application/grpc+proto", grpc("grpc", "proto")],
  ["application/grpc+json", grpc("grpc", "json")],
  ["application/grpc-web", grpc("grpc-web", "proto")],
  ["application/grpc-web+proto", grpc("grpc-web", "proto")],
  ["application/grpc-web+json", grpc("grpc-web", "json")],
];
const UNARY_FORMS = new Map<string, WireForm>([
  ...GRPC_FORMS,
  ["application/proto", CONNECT_PROTO],
  ["application/json", CONNECT_JSON],
  ["application/json; charset=utf-8", CONNECT_JSON],
  ["application/json;charset=utf-8", CONNECT_JSON],
]);
const STREAM_FORMS = new Map<string, WireForm>([
  ...GRPC_FORMS,
  ["application/connect+proto", connectStream("proto")],
  ["application/connect+json", connectStream("json")],
]);

/** The wire format of a POST to a unary or streaming method; undefined if the fast path does not support it. */
export function formOf(headers: IncomingHttpHeaders, isUnary: boolean): WireForm | undefined {
  const contentType = headers["content-type"];
  return contentType === undefined ? undefined : (isUnary ? UNARY_FORMS : STREAM_FORMS).get(contentType);
}

/** Whether the request's body is uncompressed. */
export function isUncompressed(form: WireForm, headers: IncomingHttpHeaders): boolean {
  const encoding = headers[form.encodingHeader];
  return encoding === undefined || encoding === "identity";
}

/** Whether the client accepts gzip. Like the stock adapter, matches list items exactly, without parameters. */
export function acceptsGzip(form: WireForm, headers: IncomingHttpHeaders): boolean {
  const accepted = headers[form.acceptEncodingHeader];
  if (accepted === undefined || accepted === "identity") return false;
  if (accepted === "gzip") return true;
  return String(accepted)
    .split(",")
    .some((name) => name.trim() === "gzip");
}
