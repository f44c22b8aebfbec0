/**
 * The fast path: plain unary calls of any service, answered straight on Node's streams, in all wire forms.
 *
 * It looks at a request's head only, and takes what it is sure to answer as the stock adapter would. What it does not take (streaming
 * methods, compressed requests, unusual content types, malformed time limits, ...) it leaves untouched, for the stock adapter to answer or
 * refuse. So there is one place where such rules live.
 */
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import { constants, type ServerHttp2Stream } from "node:http2";
import type { ServiceRegistry } from "../../service/calls.js";
import { Admission, type AdmissionOptions } from "./admission.js";
import { isUsableAuthority } from "./authority.js";
import type { CallSettings } from "./call.js";
import { Http1Call } from "./http1-call.js";
import { Http2Call } from "./http2-call.js";

export interface UnaryFastPathOptions extends AdmissionOptions {
  readonly registry: Pick<ServiceRegistry, "methods" | "unary">;
  readonly log: CallSettings["log"];
}

/** Each returns whether the call was taken; if not, nothing of it was read or written. */
export interface UnaryFastPath {
  handleHttp1(request: IncomingMessage, response: ServerResponse): boolean;
  /** The stream must have a listener for `error`, as every stream of a server must. */
  handleHttp2(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number): boolean;
}

export function createUnaryFastPath(options: UnaryFastPathOptions): UnaryFastPath {
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
        new Http1Call(settings, head, request, response).read();
        return true;
      }
      if (method !== "GET" || hasBody(headers)) return false;
      const get = admission.get(url, headers);
      if (get === undefined) return false;
      new Http1Call(settings, get.head, request, response).answerTo(get.bytes);
      return true;
    },

    handleHttp2(stream, headers, flags) {
      const method = headers[":method"];
      const target = textOf(headers[":path"]);
      if (!isUsableAuthority(textOf(headers[":authority"] ?? headers.host))) return false;
      // A client that waits to be told to go on is not in a hurry.
      if (target === undefined || headers.expect !== undefined) return false;
      if (method === "POST") {
        const head = admission.post(target, headers);
        if (head === undefined) return false;
        new Http2Call(settings, head, stream).read();
        return true;
      }
      if (method !== "GET" || (flags & constants.NGHTTP2_FLAG_END_STREAM) === 0) return false;
      const get = admission.get(target, headers);
      if (get === undefined) return false;
      new Http2Call(settings, get.head, stream).answerTo(get.bytes);
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
