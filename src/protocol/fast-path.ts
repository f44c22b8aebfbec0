/**
 * The fast path: answers unary and server-streaming calls in all protocols without the Connect library's request handling.
 *
 * It decides by the request head, and accepts only calls that it answers exactly as the stock adapter would. It leaves all others untouched
 * for the stock adapter (client streams, compressed requests, unusual content types, malformed timeouts), so the rules for those exist once.
 */
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import type { RequestStream } from "@ironflow-kv/http2";
import type { ServiceRegistry } from "../service/calls.js";
import { Http1StreamingCall } from "./streaming/http1-call.js";
import { Http2StreamingCall } from "./streaming/http2-call.js";
import { Http1UnaryCall } from "./unary/http1-call.js";
import { Http2UnaryCall } from "./unary/http2-call.js";
import { Admission, type AdmissionOptions } from "./rpc/admission.js";
import { isUsableAuthority } from "./rpc/authority.js";
import type { CallSettings } from "./rpc/call.js";

export interface FastPathOptions extends AdmissionOptions {
  readonly registry: Pick<ServiceRegistry, "methods" | "unary" | "stream" | "observer">;
  readonly log: CallSettings["log"];
}

/** Each returns whether it handles the call. If not, it has read and written nothing. */
export interface FastPath {
  handleHttp1(request: IncomingMessage, response: ServerResponse): boolean;
  handleHttp2(stream: RequestStream): boolean;
}

export function createFastPath(options: FastPathOptions): FastPath {
  const { registry, limits, jsonOptions, log } = options;
  const settings: CallSettings = { registry, messageBytesMax: limits.messageBytesMax, jsonOptions, log };
  const admission = new Admission(options);

  return {
    handleHttp1(request, response) {
      const { method, headers, url = "" } = request;
      // HTTP/1.0 clients do not support chunked responses.
      if (request.httpVersionMinor !== 1 || !isUsableAuthority(headers.host)) return false;
      if (method === "POST") {
        const head = admission.post(url, headers);
        // gRPC needs HTTP/2: the stock adapter rejects it.
        if (head === undefined || head.form.door === "grpc") return false;
        const Call = head.route.isUnary ? Http1UnaryCall : Http1StreamingCall;
        new Call(settings, head, request, response).read();
        return true;
      }
      if (method !== "GET" || hasBody(headers)) return false;
      const get = admission.get(url, headers);
      if (get === undefined) return false;
      new Http1UnaryCall(settings, get.head, request, response).answerTo(get.bytes);
      return true;
    },

    handleHttp2(stream) {
      const { headers } = stream;
      const method = headers[":method"];
      const target = textOf(headers[":path"]);
      if (!isUsableAuthority(textOf(headers[":authority"] ?? headers.host))) return false;
      // The stock adapter handles Expect: 100-continue.
      if (target === undefined || headers.expect !== undefined) return false;
      if (method === "POST") {
        const head = admission.post(target, headers);
        if (head === undefined) return false;
        const Call = head.route.isUnary ? Http2UnaryCall : Http2StreamingCall;
        new Call(settings, head, stream).read();
        return true;
      }
      if (method !== "GET" || !stream.isRequestComplete) return false;
      const get = admission.get(target, headers);
      if (get === undefined) return false;
      new Http2UnaryCall(settings, get.head, stream).answerTo(get.bytes);
      return true;
    },
  };
}

function hasBody(headers: IncomingHttpHeaders): boolean {
  const length = headers["content-length"];
  return headers["transfer-encoding"] !== undefined || (length !== undefined && length !== "0");
}

function textOf(value: string | string[] | undefined): string | undefined {
  return typeof value === "string" ? value : undefined;
}
