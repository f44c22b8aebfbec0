/**
 * The fast paths: plain unary and server-streaming calls of any service, answered straight on their connections, in all wire forms.
 *
 * They look at a request's head only, and take what they are sure to answer as the stock adapter would. What they don't take (streams of
 * requests, compressed requests, unusual content types, malformed time limits, ...) they leave untouched, for the stock adapter to answer
 * or refuse. So there is one place where such rules live.
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

/** Each returns whether the call was taken; if not, nothing of it was read or written. */
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
      // An old client may not know how to read what the call's answer needs.
      if (request.httpVersionMinor !== 1 || !isUsableAuthority(headers.host)) return false;
      if (method === "POST") {
        const head = admission.post(url, headers);
        // gRPC needs HTTP/2; what becomes of it here is the stock adapter's affair.
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
      // A client that waits to be told to go on is not in a hurry.
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
