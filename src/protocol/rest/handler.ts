/**
 * The REST bridge: translates an HTTP request to a service call, and the result to a response. bind.ts routes and binds requests, shapes.ts
 * has the JSON forms, errors.ts maps errors.
 */
import { create, fromJson, type JsonValue, type Message, toJson } from "@bufbuild/protobuf";
import type { Limits } from "../../kv/limits.js";
import type { ServiceRegistry } from "../../service/calls.js";
import { type Cors, createCors } from "../cors.js";
import type { Exchange } from "../exchange.js";
import { REQUEST_ID_HEADER, requestIdOf } from "../request-id.js";
import { type Answer, send } from "../send.js";
import { serveEventStream } from "../watch/sse.js";
import { allowedMethods, bindCall, findRoute } from "./bind.js";
import { checkBodyHeaders, decodeText, parseJsonObject, readBody } from "./body.js";
import { encodedAnswer } from "./compression.js";
import type { HttpCall } from "./call.js";
import { messageBytesMaxOf } from "../message-limit.js";
import { badRequest, opaqueRefusal, Refusal, refusalOf, sendRefusal } from "./errors.js";
import { isJsonType, prefers } from "./headers.js";
import { splitTarget, type Target } from "./percent.js";
import { answerLines } from "./json-lines.js";
import { answerList } from "./lists.js";
import { literalText, type Router } from "./router.js";
import { createRouter, type Endpoint } from "./routes.js";
import { jsonAnswer, PROTO_JSON } from "./shape.js";

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
  isSimple(path: string): boolean;
  /** Answers a request; never throws. Sends `100 Continue` before it reads the body, so a rejection arrives before the body is sent. */
  handle(exchange: Exchange): void;
}

/** Creates the handler. Throws RouteError if the contract has a rule that can't be served. */
export function createRestHandler(options: RestHandlerOptions): RestHandler {
  const router = createRouter(options.registry);
  const cors = options.cors ?? createCors({ allowedOrigins: "*" });
  const door = new RestDoor(router, options);
  const isStream = streamPaths(router);
  return {
    handles: (path) => path === "/api" || path.startsWith("/api/"),
    isSimple: (path) => path.startsWith("/api/") && !isStream(path),
    handle(exchange) {
      exchange.commonFields[REQUEST_ID_HEADER] = requestIdOf(exchange.headers);
      try {
        if (cors.apply(exchange)) return;
      } catch (error) {
        door.fail(exchange, error);
        return;
      }
      door.answer(exchange).catch((error: unknown) => door.fail(exchange, error));
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

  async answer(exchange: Exchange): Promise<void> {
    const target = splitTarget(exchange.target);
    if (exchange.method === "OPTIONS") {
      send(exchange, this.optionsAnswer(target));
      return;
    }
    const match = findRoute(this.router, exchange.method, target);
    const endpoint = match.route.target;
    if (endpoint.shape.lines !== undefined) {
      const call = bindCall(match, target, exchange, "rest");
      await answerLines(endpoint, call, exchange, this.options);
      return;
    }
    if (endpoint.isStream) {
      checkAcceptsEventStream(exchange);
      const call = bindCall(match, target, exchange, "sse");
      await serveEventStream(endpoint, call, exchange, this.options);
      return;
    }
    const call = bindCall(match, target, exchange, "rest");
    const { registry } = this.options;
    if (endpoint.body.kind !== "none") {
      call.caller = registry.authenticate(endpoint.method, call);
      await this.readBody(endpoint, call, exchange);
    }
    try {
      const sentBytes = await this.answerUnary(endpoint, call, exchange, target.path);
      registry.observer?.transferred(endpoint.method, "rest", call.bodyBytes, sentBytes);
    } finally {
      call.releaseHeld();
    }
  }

  /** Resolves with the size of the response. */
  private async answerUnary(
    endpoint: Endpoint,
    call: HttpCall,
    exchange: Exchange,
    path: string,
  ): Promise<number> {
    const { registry } = this.options;
    const { method, shape } = endpoint;
    if (shape.list !== undefined) return answerList(endpoint, shape.list, call, exchange, registry);
    const result = await registry.unary(method, call, call.request);
    const answer = shape.answer?.(result, call, path) ?? plainAnswer(endpoint, result);
    const encoded = encodedAnswer(exchange, answer instanceof Promise ? await answer : answer);
    return send(exchange, encoded instanceof Promise ? await encoded : encoded);
  }

  fail(exchange: Exchange, error: unknown): void {
    const refusal = refusalOf(error);
    const requestId = exchange.headers[REQUEST_ID_HEADER]?.toString();
    if (refusal === undefined) {
      this.options.log.error(
        { err: error, request_id: requestId },
        "The REST bridge failed to answer a call.",
      );
    }
    try {
      sendRefusal(exchange, refusal ?? opaqueRefusal(requestId));
    } catch (sendError) {
      this.options.log.error(
        { err: sendError, request_id: requestId },
        "The REST bridge failed to send an error.",
      );
      exchange.reset();
    }
  }

  private optionsAnswer(target: Target): Answer {
    const allowed = allowedMethods(this.router, target.path);
    if (allowed.length === 0) {
      throw new Refusal(404, "route_not_found", `There is no route at ${target.path.slice(0, 200)}.`);
    }
    return { status: 204, headers: { allow: allowed.join(", ") }, body: undefined };
  }

  private async readBody(endpoint: Endpoint, call: HttpCall, exchange: Exchange): Promise<void> {
    const { body, shape } = endpoint;
    const { limits } = this.options;
    const isBytes = body.kind === "bytes";
    const bytesMax = isBytes ? limits.valueBytesMax : messageBytesMaxOf(endpoint.method.desc, limits);
    const tooLargeCode = shape.tooLargeCode ?? "body_too_large";
    if (!isBytes && !isJsonType(exchange.headers["content-type"])) {
      throw new Refusal(
        415,
        "unsupported_media_type",
        `The content type is ${exchange.headers["content-type"] ?? ""}; this call takes application/json.`,
        { accept: "application/json" },
      );
    }
    checkBodyHeaders(exchange, bytesMax, tooLargeCode);
    if (exchange.expectsContinue) exchange.sendContinue();
    const bytes = await readBody(exchange, { bytesMax, tooLargeCode, timeoutMs: limits.requestTimeoutMs });
    call.bodyBytes = bytes.length;
    if (body.kind === "bytes") {
      Reflect.set(call.request, body.field, bytes);
      return;
    }
    if (body.kind === "text") {
      Reflect.set(call.request, body.field, decodeText(bytes));
      return;
    }
    // The path has all that is required, such as to rotate a key.
    const isOptional = shape.readBody === undefined && endpoint.paths.length > 0;
    const json = isOptional && bytes.length === 0 ? {} : parseJsonObject(bytes);
    if (shape.readBody !== undefined) shape.readBody(json, call.request);
    else readProtoJson(endpoint, call, json);
  }
}

function checkAcceptsEventStream({ headers, httpVersion }: Exchange): void {
  if (prefers(headers.accept, "text/event-stream")) return;
  const sentence = "This is a watch; open a WebSocket, or send Accept: text/event-stream.";
  // RFC 9110 section 15.5.22. HTTP/2 has no Upgrade.
  throw httpVersion !== "2.0"
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
  const source = create(input, message);
  for (const { name, localName } of input.members) {
    if (!fromPath.has(name)) Reflect.set(call.request, localName, Reflect.get(source, localName));
  }
}
