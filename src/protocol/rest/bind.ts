/** Builds a call from a request's route, path variables, query parameters and headers. */
import { create } from "@bufbuild/protobuf";
import type { Protocol } from "../../service/calls.js";
import { ENVIRONMENT_HEADER } from "../../service/environment.js";
import { type CallSource, HttpCall } from "./call.js";
import { badRequest, Refusal } from "./errors.js";
import { decodePercent, isUriText, parseQuery, type Target } from "./percent.js";
import { type Match, type Router, variableText } from "./router.js";
import type { Endpoint } from "./routes.js";
import type { Parameter } from "./shape.js";

/** Finds the route of a request; `HEAD` uses that of `GET`. Throws a 404, a 405 with `Allow`, or a 400 if the target is not a URI. */
export function findRoute(router: Router<Endpoint>, httpMethod: string, target: Target): Match<Endpoint> {
  if (!isUriText(target.path) || !isUriText(target.query)) {
    throw badRequest("The path or query contains characters that must be percent-encoded.");
  }
  const match = router.find(httpMethod, target.path) ?? findForHead(router, httpMethod, target.path);
  if (match !== undefined) return match;
  const allowed = allowedMethods(router, target.path);
  if (allowed.length === 0) {
    throw new Refusal(404, "route_not_found", `There is no route at ${target.path.slice(0, 200)}.`);
  }
  throw new Refusal(
    405,
    "method_not_allowed",
    `${httpMethod} is not allowed at ${target.path.slice(0, 200)}; it allows ${allowed.join(", ")}.`,
    { allow: allowed.join(", ") },
  );
}

function findForHead(
  router: Router<Endpoint>,
  httpMethod: string,
  path: string,
): Match<Endpoint> | undefined {
  const match = httpMethod === "HEAD" ? router.find("GET", path) : undefined;
  // A watch is endless: HEAD has no complete response to describe.
  return match?.route.target.isStream === true ? undefined : match;
}

/** The methods for a path's `Allow` header; empty if the path has no route. */
export function allowedMethods(router: Router<Endpoint>, path: string): readonly string[] {
  const allowed = [...router.methodsOf(path)];
  if (allowed.length === 0) return allowed;
  if (findForHead(router, "HEAD", path) !== undefined) allowed.push("HEAD");
  return [...allowed, "OPTIONS"].sort();
}

/** Builds the call of a request, without its body. Throws a 400 for malformed or unknown parameters. */
export function bindCall(
  match: Match<Endpoint>,
  target: Target,
  source: CallSource,
  protocol: Protocol,
): HttpCall {
  const endpoint = match.route.target;
  const call = new HttpCall(protocol, create(endpoint.method.desc.input), source);
  for (const { variable, set } of endpoint.paths) {
    const raw = variableText(variable, match, target.path);
    const text = decodePercent(raw);
    if (text === undefined) {
      throw badRequest(
        `The ${variable.fieldPath} in the path is ${JSON.stringify(raw.slice(0, 80))}; it must be percent-encoded UTF-8.`,
      );
    }
    set(call.request, text, `The ${variable.fieldPath} in the path`);
  }
  if (target.query !== "") readParameters(endpoint, target.query, call);
  checkOneEnvironment(call);
  endpoint.shape.readHeaders?.(call);
  return call;
}

/** Every call takes it, because browsers can't set a header on a watch. */
const ENVIRONMENT: Parameter = { read: (call, text) => (call.options.environment = text) };

function checkOneEnvironment({ headers, options }: HttpCall): void {
  const header = headers[ENVIRONMENT_HEADER];
  if (header === undefined || options.environment === undefined || header === options.environment) return;
  throw badRequest("X-Ironflow-Environment and env name different environments; set one of them.");
}

function readParameters(endpoint: Endpoint, query: string, call: HttpCall): void {
  const parameters = parseQuery(query);
  if ("malformed" in parameters) {
    throw badRequest(
      `The query has ${JSON.stringify(parameters.malformed.slice(0, 80))}; it must be percent-encoded UTF-8.`,
    );
  }
  const seen = new Set<string>();
  for (const { name, value } of parameters) {
    const parameter = name === "env" ? ENVIRONMENT : endpoint.parameters.get(name);
    if (parameter === undefined) throw unknownParameter(endpoint, name);
    if (seen.has(name) && parameter.repeats !== true) {
      throw badRequest(`${name} is set twice; it must be set once.`);
    }
    seen.add(name);
    parameter.read(call, value, name);
  }
}

function unknownParameter(endpoint: Endpoint, name: string): Refusal {
  const known = [...endpoint.parameters.keys()].join(", ");
  return badRequest(
    `There is no parameter ${JSON.stringify(name.slice(0, 80))}; ${known === "" ? "this call takes none" : `this call takes ${known}`}.`,
  );
}
