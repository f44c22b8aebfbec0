/** The wire forms that the fast path speaks: how each is told from a request, and what its answers are called. */
import type { IncomingHttpHeaders } from "node:http";

/** One protocol with one codec. */
export interface WireForm {
  readonly door: "grpc" | "grpc-web" | "connect";
  /** Protobuf's binary format; else its JSON. */
  readonly isBinary: boolean;
  /** The content type of answers. */
  readonly contentType: string;
  readonly timeoutHeader: "grpc-timeout" | "connect-timeout-ms";
  /** Says how the request is compressed. */
  readonly encodingHeader: "grpc-encoding" | "content-encoding";
  /** Says what the client can decompress. */
  readonly acceptEncodingHeader: "grpc-accept-encoding" | "accept-encoding";
}

function grpc(door: "grpc" | "grpc-web", codec: "proto" | "json"): WireForm {
  return {
    door,
    isBinary: codec === "proto",
    contentType: `application/${door}+${codec}`,
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
    timeoutHeader: "connect-timeout-ms",
    encodingHeader: "content-encoding",
    acceptEncodingHeader: "accept-encoding",
  };
}

export const CONNECT_PROTO = connect("proto");
export const CONNECT_JSON = connect("json");

/**
 * By a request's content type, in the spellings that clients send. Others that mean the same (capitals, more parameters) are left to
 * the stock adapter, as is grpc-web-text.
 */
const FORM_BY_CONTENT_TYPE = new Map<string, WireForm>([
  ["application/grpc", grpc("grpc", "proto")],
  ["application/grpc+proto", grpc("grpc", "proto")],
  ["application/grpc+json", grpc("grpc", "json")],
  ["application/grpc-web", grpc("grpc-web", "proto")],
  ["application/grpc-web+proto", grpc("grpc-web", "proto")],
  ["application/grpc-web+json", grpc("grpc-web", "json")],
  ["application/proto", CONNECT_PROTO],
  ["application/json", CONNECT_JSON],
  ["application/json; charset=utf-8", CONNECT_JSON],
  ["application/json;charset=utf-8", CONNECT_JSON],
]);

/** The form of a POST; undefined where the fast path does not know it. */
export function formOf(headers: IncomingHttpHeaders): WireForm | undefined {
  const contentType = headers["content-type"];
  return contentType === undefined ? undefined : FORM_BY_CONTENT_TYPE.get(contentType);
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
