/** The Connect protocol: https://connectrpc.com/docs/protocol */
import { base64Decode } from "@bufbuild/protobuf/wire";
import { codeToHttpStatus, endStreamToJson, errorToJsonBytes } from "@connectrpc/connect/protocol-connect";
import type { Fields } from "./exchange.js";
import type { RpcCall } from "./rpc/call.js";
import { compress, isLong, lastEnvelope } from "./rpc/compression.js";
import { END_STREAM_FLAG } from "./rpc/envelope.js";
import { addFields } from "./rpc/fields.js";
import type { FormsByContentType, RpcProtocol, UnaryAnswer, WireForm } from "./rpc/protocol.js";

const protocol: RpcProtocol = {
  headBytes: 0,
  success(call, message) {
    const headers: Fields = { "content-type": call.form.contentType };
    call.addOwnHeaders(headers);
    return answerOf(call, 200, headers, message);
  },
  failure(call, error) {
    const headers: Fields = {};
    call.addOwnHeaders(headers);
    headers["content-type"] = "application/json";
    addFields(headers, error.metadata);
    return answerOf(call, codeToHttpStatus(error.code), headers, errorToJsonBytes(error, call.jsonOptions));
  },
  // https://connectrpc.com/docs/protocol#error-end-stream
  endStream(call, error) {
    const end = endStreamToJson(call.ownTrailers ?? new Headers(), error, call.jsonOptions);
    return lastEnvelope(call.acceptsGzip, END_STREAM_FLAG, Buffer.from(JSON.stringify(end)));
  },
};

const PROTO = unaryForm("proto");
const JSON_FORM = unaryForm("json");

export const CONNECT_UNARY_FORMS: FormsByContentType = [
  ["application/proto", PROTO],
  ["application/json", JSON_FORM],
  ["application/json; charset=utf-8", JSON_FORM],
  ["application/json;charset=utf-8", JSON_FORM],
];
export const CONNECT_STREAM_FORMS: FormsByContentType = [
  ["application/connect+proto", streamForm("proto")],
  ["application/connect+json", streamForm("json")],
];

/** A request message in the query of a GET: https://connectrpc.com/docs/protocol#unary-get-request */
export interface GetMessage {
  readonly form: WireForm;
  readonly bytes: Uint8Array;
}

/** A query that every URL parser reads the same way: printable ASCII without a fragment. */
const SIMPLE_QUERY = /^[\x21-\x22\x24-\x7e]*$/;

const FORM_BY_ENCODING = new Map<string | null, WireForm>([
  ["proto", PROTO],
  ["json", JSON_FORM],
]);

/** The message in a query string; undefined if the stock adapter must handle it: compressed, malformed, or another codec. */
export function messageOfQuery(query: string): GetMessage | undefined {
  if (!SIMPLE_QUERY.test(query)) return undefined;
  const parameters = new URLSearchParams(query);
  const form = FORM_BY_ENCODING.get(parameters.get("encoding"));
  const compression = parameters.get("compression");
  if (form === undefined || (compression !== null && compression !== "identity")) return undefined;
  const message = parameters.get("message") ?? "";
  if (parameters.get("base64") !== "1") return { form, bytes: Buffer.from(message) };
  try {
    return { form, bytes: base64Decode(message) };
  } catch {
    return undefined;
  }
}

function unaryForm(codec: "proto" | "json"): WireForm {
  return {
    protocolName: "connect",
    protocol,
    isBinary: codec === "proto",
    contentType: `application/${codec}`,
    isEnveloped: false,
    endFlag: 0,
    timeoutHeader: "connect-timeout-ms",
    encodingHeader: "content-encoding",
    acceptEncodingHeader: "accept-encoding",
  };
}

function streamForm(codec: "proto" | "json"): WireForm {
  return {
    ...unaryForm(codec),
    contentType: `application/connect+${codec}`,
    isEnveloped: true,
    endFlag: END_STREAM_FLAG,
    encodingHeader: "connect-content-encoding",
    acceptEncodingHeader: "connect-accept-encoding",
  };
}

function answerOf(
  call: RpcCall,
  status: number,
  headers: Fields,
  body: Uint8Array,
): UnaryAnswer | Promise<UnaryAnswer> {
  addFields(headers, call.ownTrailers, "trailer-");
  if (call.acceptsGzip && isLong(body)) return compressed(status, headers, body);
  headers["content-length"] = String(body.length);
  return { status, headers, body, trailers: undefined };
}

async function compressed(status: number, headers: Fields, body: Uint8Array): Promise<UnaryAnswer> {
  const bytes = await compress(body);
  headers["content-encoding"] = "gzip";
  headers["content-length"] = String(bytes.length);
  return { status, headers, body: bytes, trailers: undefined };
}
