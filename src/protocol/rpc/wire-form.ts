/** The wire forms that the fast path speaks: how each is told from a request, and what its answers are called. */
import type { IncomingHttpHeaders } from "node:http";
import { END_STREAM_FLAG, TRAILER_FLAG } from "./envelope.js";

/** One protocol with one codec. */
export interface WireForm {
  readonly door: "grpc" | "grpc-web" | "connect";
  /** Protobuf's binary format; else its JSON. */
  readonly isBinary: boolean;
  /** The content type of answers. */
  readonly contentType: string;
  /** Whether messages are in envelopes; else the body is the message. */
  readonly isEnveloped: boolean;
  /** Marks an envelope that holds no message but the end; 0: there is none. In a request it says nothing that matters here. */
  readonly endFlag: number;
  readonly timeoutHeader: "grpc-timeout" | "connect-timeout-ms";
  /** Says how messages are compressed. */
  readonly encodingHeader: "grpc-encoding" | "content-encoding" | "connect-content-encoding";
  /** Says what the client can decompress. */
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
 * By a request's content type, in the spellings that clients send. Others that mean the same (capitals, more parameters) are left to
 * the stock adapter, as is grpc-web-text.
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

/** The form of a POST to a unary or streaming method; undefined where the fast path does not know it. */
export function formOf(headers: IncomingHttpHeaders, isUnary: boolean): WireForm | undefined {
  const contentType = headers["content-type"];
  return contentType === undefined ? undefined : (isUnary ? UNARY_FORMS : STREAM_FORMS).get(contentType);
}

/** Whether the request's body is sent as it is. */
export function isUncompressed(form: WireForm, headers: IncomingHttpHeaders): boolean {
  const encoding = headers[form.encodingHeader];
  return encoding === undefined || encoding === "identity";
}

/** Whether the client takes gzip; chosen as the stock adapter does, by the bare word in the list. */
export function acceptsGzip(form: WireForm, headers: IncomingHttpHeaders): boolean {
  const accepted = headers[form.acceptEncodingHeader];
  if (accepted === undefined || accepted === "identity") return false;
  if (accepted === "gzip") return true;
  return String(accepted)
    .split(",")
    .some((name) => name.trim() === "gzip");
}
