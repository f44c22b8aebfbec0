/**
 * The fast path: answers unary and server-streaming calls in all protocols without the Connect library's request handling.
 *
 * It decides by the request head, and accepts only calls that it answers exactly as the stock adapter would. It leaves all others untouched
 * for the stock adapter (client streams, compressed requests, unusual content types, malformed timeouts), so the rules for those exist once.
 */
import type { ServiceRegistry } from "../service/calls.js";
import type { Exchange } from "./exchange.js";
import { Admission, type AdmissionOptions } from "./rpc/admission.js";
import { isUsableAuthority } from "./rpc/authority.js";
import type { CallSettings, RequestHead } from "./rpc/call.js";
import { GET_HEADERS } from "./rpc/fields.js";
import { StreamingCall } from "./rpc/streaming-call.js";
import { UnaryCall } from "./rpc/unary-call.js";

export interface FastPathOptions extends AdmissionOptions {
  readonly registry: Pick<ServiceRegistry, "methods" | "authenticate" | "unary" | "stream" | "observer">;
  readonly log: CallSettings["log"];
}

/** Each returns whether it handles the call. If not, it has read and written nothing. */
export interface FastPath {
  handle(exchange: Exchange): boolean;
  /** Handles only unary calls. */
  handleUnary(exchange: Exchange): boolean;
}

export function createFastPath(options: FastPathOptions): FastPath {
  const { registry, jsonOptions, log } = options;
  const settings: CallSettings = { registry, jsonOptions, log };
  const admission = new Admission(options);

  const handlePost = (exchange: Exchange, accepts: (head: RequestHead) => boolean): boolean => {
    const head = admission.post(exchange.target, exchange.headers);
    // gRPC needs HTTP/2: the stock adapter rejects it.
    if (head === undefined || !accepts(head)) return false;
    if (head.form.protocolName === "grpc" && exchange.httpVersion !== "2.0") return false;
    const Call = head.route.isUnary ? UnaryCall : StreamingCall;
    new Call(settings, head, exchange).read();
    return true;
  };
  const handleGet = (exchange: Exchange): boolean => {
    const get = admission.get(exchange.target, exchange.headers);
    if (get === undefined || exchange.hasBody) return false;
    const call = new UnaryCall(settings, get.head, exchange);
    call.ownHeaders = new Headers(GET_HEADERS);
    call.answerTo(get.bytes);
    return true;
  };
  const handle = (exchange: Exchange, accepts: (head: RequestHead) => boolean): boolean => {
    const { method, headers, httpVersion, authority } = exchange;
    // HTTP/1.0 clients do not support chunked responses.
    if (httpVersion === "1.0" || !isUsableAuthority(authority)) return false;
    // The stock adapter handles Expect: 100-continue.
    if (headers.expect !== undefined) return false;
    if (method === "POST") return handlePost(exchange, accepts);
    return method === "GET" && handleGet(exchange);
  };
  return {
    handle: (exchange) => handle(exchange, () => true),
    handleUnary: (exchange) => handle(exchange, (head) => head.route.isUnary),
  };
}
