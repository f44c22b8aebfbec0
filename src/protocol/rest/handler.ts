/**
 * The REST bridge: translates an HTTP request to a service call, and the result to a response. bind.ts routes and binds requests, shapes.ts
 * has the JSON forms, errors.ts maps errors.
 */
import { create, fromJson, type JsonValue, type Message, toJson } from "@bufbuild/protobuf";
import type { Limits } from "../../kv/limits.js";
import type { ServiceRegistry } from "../../service/calls.js";
import { type Cors, createCors } from "../cors.js";
import { REQUEST_ID_HEADER, requestIdOf } from "../request-id.js";
import { serveEventStream } from "../watch/sse.js";
import { allowedMethods, bindCall, findRoute } from "./bind.js";
import { checkBodyHeaders, parseJsonObject, readBody, type Request, type Response } from "./body.js";
import type { HttpCall } from "./call.js";
import { badRequest, opaqueRefusal, Refusal, refusalOf } from "./errors.js";
import { isJsonType, prefers } from "./headers.js";
import { splitTarget, type Target } from "./percent.js";
import { answerList } from "./lists.js";
import { literalText, type Router } from "./router.js";
import { createRouter, type Endpoint } from "./routes.js";
import { send, sendRefusal } from "./send.js";
import { type Answer, jsonAnswer, PROTO_JSON } from "./shape.js";

/** Logs unexpected errors. Each is a bug; clients see no details. */
export interface FaultLog {
  error(facts: { readonly err: unknown; readonly request_id?: string | undefined }, sentence: string): void;
}

export interface RestHandlerOptions {
  readonly registry: ServiceRegistry;
  readonly limits: Limits;
  /** Default: every origin. */
  readonly cors?: Cors | undefined;
  readonly log: FaultLog;
}

export interface RestHandler {
  /** Whether the REST bridge serves this path (or target): all under /api/. */
  handles(path: string): boolean;
  /** Whether the REST bridge serves this path, and it is not a watch's. */
  isPlain(path: string): boolean;
  /**
   * Answers a request; never throws. `awaitsContinue`: the client waits for `100 Continue`, and Node has not sent it (event `checkContinue`).
   * The bridge sends it before it reads the body, so a rejection arrives before the client sends the body.
   */
  handle(request: Request, response: Response, awaitsContinue?: boolean): void;
}

/** Creates the handler. Throws RouteError if the contract has a rule that can't be served. */
export function createRestHandler(options: RestHandlerOptions): RestHandler {
  const router = createRouter(options.registry);
  const cors = options.cors ?? createCors({ allowedOrigins: "*" });
  const door = new RestDoor(router, options);
  const isStream = streamPaths(router);
  return {
    handles: (path) => path === "/api" || path.startsWith("/api/"),
    isPlain: (path) => path.startsWith("/api/") && !isStream(path),
    handle(request, response, awaitsContinue = false) {
      try {
        if (request.method === "OPTIONS") response.setHeader(REQUEST_ID_HEADER, requestIdOf(request.headers));
        if (cors.apply(request, response)) return;
      } catch (error) {
        door.fail(request, response, error);
        return;
      }
      door
        .answer(request, response, awaitsContinue)
        .catch((error: unknown) => door.fail(request, response, error));
    },
  };
}

/** Whether a path may be that of a stream: it has the same last segment. */
function streamPaths(router: Router<Endpoint>): (path: string) => boolean {
  const streams = router.routes.filter(({ target }) => target.isStream);
  const ends = new Set(
    streams.map(({ template }) => {
      const last = template.segments.at(-1);
      return last?.kind === "literal" ? last.text : undefined;
    }),
  );
  if (ends.has(undefined)) return () => true;
  return (path) => ends.has(literalText(path.slice(path.lastIndexOf("/") + 1)));
}

class RestDoor {
  constructor(
    private readonly router: Router<Endpoint>,
    private readonly options: RestHandlerOptions,
  ) {}

  async answer(request: Request, response: Response, awaitsContinue: boolean): Promise<void> {
    const target = splitTarget(request.url ?? "");
    if (request.method === "OPTIONS") {
      send(request, response, this.optionsAnswer(target));
      return;
    }
    const match = findRoute(this.router, request.method ?? "", target);
    const endpoint = match.route.target;
    if (endpoint.isStream) {
      checkAcceptsEventStream(request);
      const call = bindCall(match, target, request, "sse", response);
      await serveEventStream(endpoint, call, request, response, this.options);
      return;
    }
    const call = bindCall(match, target, request, "rest", response);
    if (endpoint.body.kind !== "none") await this.readBody(endpoint, call, request, response, awaitsContinue);
    const { registry } = this.options;
    const { method, shape } = endpoint;
    let sentBytes: number;
    if (shape.list !== undefined) {
      sentBytes = await answerList(endpoint, shape.list, call, request, response, registry);
    } else {
      const result = await registry.unary(method, call, call.request);
      const answer = shape.answer?.(result, call, target.path) ?? plainAnswer(endpoint, result);
      sentBytes = send(request, response, answer);
    }
    registry.observer?.transferred(method, "rest", call.bodyBytes, sentBytes);
  }

  fail(request: Request, response: Response, error: unknown): void {
    const refusal = refusalOf(error);
    const requestId = request.headers[REQUEST_ID_HEADER]?.toString();
    if (refusal === undefined) {
      this.options.log.error(
        { err: error, request_id: requestId },
        "The REST bridge failed to answer a call.",
      );
    }
    try {
      sendRefusal(request, response, refusal ?? opaqueRefusal(requestId));
    } catch (sendError) {
      this.options.log.error(
        { err: sendError, request_id: requestId },
        "The REST bridge failed to send an error.",
      );
      response.destroy();
    }
  }

  private optionsAnswer(target: Target): Answer {
    const allowed = allowedMethods(this.router, target.path);
    if (allowed.length === 0) {
      throw new Refusal(404, "route_not_found", `There is no route at ${target.path.slice(0, 200)}.`);
    }
    return { status: 204, headers: { allow: allowed.join(", ") }, body: undefined };
  }

  private async readBody(
    endpoint: Endpoint,
    call: HttpCall,
    request: Request,
    response: Response,
    awaitsContinue: boolean,
  ): Promise<void> {
    const { body, shape } = endpoint;
    const { limits } = this.options;
    const isBytes = body.kind === "bytes";
    const bytesMax = isBytes ? limits.valueBytesMax : limits.messageBytesMax;
    const tooLargeCode = shape.tooLargeCode ?? "body_too_large";
    if (!isBytes && !isJsonType(request.headers["content-type"])) {
      throw new Refusal(
        415,
        "unsupported_media_type",
        `The content type is ${request.headers["content-type"] ?? ""}; this call takes application/json.`,
        { accept: "application/json" },
      );
    }
    checkBodyHeaders(request, bytesMax, tooLargeCode);
    // On HTTP/2 the compatibility layer does not send it. A duplicate is harmless.
    if (awaitsContinue || (request.httpVersionMajor === 2 && expectsContinue(request)))
      response.writeContinue();
    const bytes = await readBody(request, { bytesMax, tooLargeCode, timeoutMs: limits.requestTimeoutMs });
    call.bodyBytes = bytes.length;
    if (body.kind === "bytes") {
      (call.request as unknown as Record<string, Uint8Array>)[body.field] = bytes;
      return;
    }
    const json = parseJsonObject(bytes);
    if (shape.readBody !== undefined) shape.readBody(json, call.request);
    else readProtoJson(endpoint, call, json);
  }
}

function expectsContinue(request: Request): boolean {
  return request.headers.expect?.toLowerCase() === "100-continue";
}

function checkAcceptsEventStream(request: Request): void {
  if (prefers(request.headers.accept, "text/event-stream")) return;
  const sentence = "This is a watch; open a WebSocket, or send Accept: text/event-stream.";
  // RFC 9110 section 15.5.22. HTTP/2 has no Upgrade.
  throw request.httpVersionMajor === 1
    ? new Refusal(426, "upgrade_required", sentence, { upgrade: "websocket", connection: "Upgrade" })
    : new Refusal(406, "not_acceptable", sentence);
}

function plainAnswer(endpoint: Endpoint, response: Message): Answer {
  const json = toJson(endpoint.method.desc.output, response, PROTO_JSON);
  return jsonAnswer(200, JSON.stringify(json));
}

/** Reads a ProtoJSON body. Fields that are in the path keep their values. */
function readProtoJson(endpoint: Endpoint, call: HttpCall, json: Readonly<Record<string, unknown>>): void {
  const { input } = endpoint.method.desc;
  let message: Message;
  try {
    message = fromJson(input, json as JsonValue);
  } catch (error) {
    const problem = error instanceof Error ? error.message : "it does not fit";
    throw badRequest(`The body is malformed: ${problem}.`);
  }
  const fromPath = new Set(endpoint.paths.map(({ variable }) => variable.fieldPath));
  const target = call.request as unknown as Record<string, unknown>;
  const source = create(input, message) as unknown as Record<string, unknown>;
  for (const member of input.members) {
    if (!fromPath.has(member.name)) target[member.localName] = source[member.localName];
  }
}
