/**
 * Builds the routes from the `google.api.http` rules of the contract's methods. A rule that can't be served fails the service at startup,
 * not a call later.
 */
import { type DescField, type DescMessage, type DescMethod, getOption, ScalarType } from "@bufbuild/protobuf";
import { http } from "../../../gen/google/api/annotations_pb.js";
import type { HttpRule } from "../../../gen/google/api/http_pb.js";
import type { BoundMethod, ServiceRegistry } from "../../service/calls.js";
import { fieldSetter, type Setter, textSetter } from "./parameters.js";
import { parsePathTemplate, type Variable } from "./path-template.js";
import { type Route, Router } from "./router.js";
import type { Parameter, Shape } from "./shape.js";
import { SHAPES } from "./shapes.js";

/** A path variable and the setter of its field. */
export interface PathBinding {
  readonly variable: Variable;
  readonly set: Setter;
}

/** What the request's body sets: nothing, one bytes field, one string field that is JSON, or all fields as JSON. */
export type BodyBinding =
  | { readonly kind: "none" }
  | { readonly kind: "bytes" | "text"; readonly field: string }
  | { readonly kind: "json" };

/** The target of a route. */
export interface Endpoint {
  readonly method: BoundMethod;
  /** Another path of the same call, by an additional binding. */
  readonly isAlias: boolean;
  readonly isStream: boolean;
  readonly shape: Shape;
  readonly paths: readonly PathBinding[];
  /** By name, in the order of the documentation. */
  readonly parameters: ReadonlyMap<string, Parameter>;
  readonly body: BodyBinding;
}

/** A rule that can't be served; the message names the method and the rule. */
export class RouteError extends Error {
  override readonly name = "RouteError";
}

/** Creates the router for all rules. Throws {@link RouteError}. Methods without a rule have no REST form. */
export function createRouter(
  registry: Pick<ServiceRegistry, "methods">,
  shapes: ReadonlyMap<DescMethod, Shape> = SHAPES,
): Router<Endpoint> {
  const router = new Router<Endpoint>();
  for (const method of registry.methods.values()) {
    const rule = getOption(method.desc, http);
    if (rule.pattern.case === undefined && rule.additionalBindings.length === 0) continue;
    for (const binding of [rule, ...rule.additionalBindings]) {
      try {
        if (binding !== rule && binding.additionalBindings.length > 0) {
          throw new Error("additional_bindings can't have additional_bindings");
        }
        router.add(routeOf(method, binding, binding !== rule, shapes.get(method.desc) ?? {}));
      } catch (error) {
        const problem = error instanceof Error ? error.message : String(error);
        throw new RouteError(`${method.path}: ${describeRule(binding)}: ${problem}.`);
      }
    }
  }
  return router;
}

function routeOf(method: BoundMethod, rule: HttpRule, isAlias: boolean, shape: Shape): Route<Endpoint> {
  const { httpMethod, path } = patternOf(rule);
  const template = parsePathTemplate(path);
  const input = method.desc.input;
  const isStream = method.desc.methodKind === "server_streaming";
  if (!isStream && method.desc.methodKind !== "unary") {
    throw new Error(`a ${method.desc.methodKind} method has no REST form`);
  }
  if (isStream && (httpMethod !== "GET" || rule.body !== "")) {
    throw new Error("a streaming method takes GET without a body");
  }
  const body = bodyOf(input, rule.body);
  if (body.kind !== "none" && (httpMethod === "GET" || httpMethod === "HEAD")) {
    throw new Error(`${httpMethod} takes no body`);
  }
  const paths = template.variables.map((variable) => ({
    variable,
    set: pathSetter(input, variable.fieldPath, rule.body),
  }));
  const taken = new Set(template.variables.map(({ fieldPath }) => fieldPath));
  if (rule.body !== "") taken.add(rule.body);
  const parameters = rule.body === "*" ? new Map<string, Parameter>() : parametersOf(input, shape, taken);
  return { httpMethod, template, target: { method, isAlias, isStream, shape, paths, parameters, body } };
}

function patternOf(rule: HttpRule): { httpMethod: string; path: string } {
  const { pattern } = rule;
  if (pattern.case === undefined) throw new Error("the rule has no pattern");
  if (pattern.case !== "custom") return { httpMethod: pattern.case.toUpperCase(), path: pattern.value };
  if (!/^[A-Z]+$/.test(pattern.value.kind)) throw new Error("a custom rule takes a method such as REPORT");
  return { httpMethod: pattern.value.kind, path: pattern.value.path };
}

function bodyOf(input: DescMessage, name: string): BodyBinding {
  if (name === "") return { kind: "none" };
  if (name === "*") return { kind: "json" };
  const field = fieldNamed(input, name);
  if (field.fieldKind === "scalar" && field.oneof === undefined) {
    if (field.scalar === ScalarType.BYTES) return { kind: "bytes", field: field.localName };
    if (field.scalar === ScalarType.STRING) return { kind: "text", field: field.localName };
  }
  throw new Error(`the body field ${name} is no bytes or string field, and others are not supported`);
}

function pathSetter(input: DescMessage, fieldPath: string, body: string): Setter {
  const field = fieldNamed(input, fieldPath);
  if (fieldPath === body) throw new Error(`the field ${fieldPath} is both in the path and the body`);
  const setter =
    field.fieldKind === "scalar" || field.fieldKind === "enum" ? fieldSetter(input, field) : undefined;
  if (setter === undefined) throw new Error(`the field ${fieldPath} can't be written in a path`);
  const isText =
    field.fieldKind === "scalar" && field.scalar === ScalarType.STRING && field.oneof === undefined;
  return isText ? textSetter(field) : setter;
}

function parametersOf(
  input: DescMessage,
  shape: Shape,
  taken: ReadonlySet<string>,
): ReadonlyMap<string, Parameter> {
  const parameters = new Map<string, Parameter>(Object.entries(shape.parameters ?? {}));
  for (const field of input.fields) {
    if (taken.has(field.name) || shape.withoutParameters?.includes(field.name) === true) continue;
    if (parameters.has(field.name)) continue;
    const set = fieldSetter(input, field);
    if (set === undefined) continue;
    parameters.set(field.name, {
      repeats: field.fieldKind === "list",
      read: ({ request }, text, name) => set(request, text, name),
    });
  }
  return parameters;
}

function fieldNamed(input: DescMessage, name: string): DescField {
  if (name.includes(".")) throw new Error(`${name} is a field of a field, which is not supported`);
  const field = input.fields.find((one) => one.name === name);
  if (field === undefined) throw new Error(`${input.typeName} has no field ${name}`);
  return field;
}

function describeRule(rule: HttpRule): string {
  const { pattern } = rule;
  if (pattern.case === undefined) return "google.api.http";
  return pattern.case === "custom"
    ? `${pattern.value.kind} ${pattern.value.path}`
    : `${pattern.case.toUpperCase()} ${pattern.value}`;
}
