/**
 * Routes paths with a tree of template segments. If several routes match, the most specific wins, segment by segment: a literal before `*`
 * before `**`, among the routes with the request's HTTP method. Paths are never normalised: `..`, `//` and `%2F` stay as sent.
 */
import type { PathTemplate, Variable } from "./path-template.js";
import { formatPathTemplate } from "./path-template.js";
import { decodePercent } from "./percent.js";

/** A template with its HTTP method and target. */
export interface Route<Target> {
  readonly httpMethod: string;
  readonly template: PathTemplate;
  readonly target: Target;
}

/** A matching route, and the start index of each segment of the path. */
export interface Match<Target> {
  readonly route: Route<Target>;
  readonly starts: readonly number[];
}

class Node<Target> {
  readonly literals = new Map<string, Node<Target>>();
  one: Node<Target> | undefined;
  /** Routes that end here, by HTTP method. */
  readonly ends = new Map<string, Route<Target>>();
  /** Routes that end with `**` here, by HTTP method. */
  readonly rests = new Map<string, Route<Target>>();
}

export class Router<Target> {
  /** In insertion order. */
  readonly routes: Route<Target>[] = [];
  private readonly root = new Node<Target>();

  /** Adds a route. Throws if another route with the same method matches the same paths. */
  add(route: Route<Target>): void {
    let node = this.root;
    let ends = node.ends;
    for (const segment of route.template.segments) {
      if (segment.kind === "rest") {
        ends = node.rests;
        break;
      }
      node = segment.kind === "one" ? (node.one ??= new Node()) : literalChild(node, segment.text);
      ends = node.ends;
    }
    const other = ends.get(route.httpMethod);
    if (other !== undefined) {
      throw new Error(
        `${route.httpMethod} ${formatPathTemplate(route.template)} matches the same paths as ${formatPathTemplate(other.template)}`,
      );
    }
    ends.set(route.httpMethod, route);
    this.routes.push(route);
  }

  /** Finds the route of a method and path. */
  find(httpMethod: string, path: string): Match<Target> | undefined {
    const starts: number[] = [];
    const route = findFrom(this.root, httpMethod, path, 1, 0, starts);
    return route && { route, starts };
  }

  /** The HTTP methods of the path's routes, sorted. */
  methodsOf(path: string): readonly string[] {
    const found = new Set<string>();
    collectFrom(this.root, path, 1, found);
    return [...found].sort();
  }
}

/** The text of a variable in a matched path, still percent-encoded. */
export function variableText(variable: Variable, match: Match<unknown>, path: string): string {
  const { segments } = match.route.template;
  const start = match.starts[variable.first] ?? path.length;
  if (variable.end === segments.length) return path.slice(start);
  return path.slice(start, (match.starts[variable.end] ?? path.length) - 1);
}

function literalChild<Target>(node: Node<Target>, text: string): Node<Target> {
  let child = node.literals.get(text);
  if (child === undefined) node.literals.set(text, (child = new Node()));
  return child;
}

/** `start` is the index of the next segment; past the end of the path if there is none. */
function findFrom<Target>(
  node: Node<Target>,
  httpMethod: string,
  path: string,
  start: number,
  depth: number,
  starts: number[],
): Route<Target> | undefined {
  if (start > path.length) return node.ends.get(httpMethod);
  // Drop the starts of a failed branch. (Setting `length` is several times slower.)
  while (starts.length > depth) starts.pop();
  starts.push(start);
  const end = endOfSegment(path, start);
  const literal = node.literals.get(literalText(path.slice(start, end)));
  const byLiteral = literal && findFrom(literal, httpMethod, path, end + 1, depth + 1, starts);
  if (byLiteral !== undefined) return byLiteral;
  if (node.one !== undefined && end > start) {
    const byOne = findFrom(node.one, httpMethod, path, end + 1, depth + 1, starts);
    if (byOne !== undefined) return byOne;
  }
  while (starts.length > depth + 1) starts.pop();
  return node.rests.get(httpMethod);
}

function collectFrom<Target>(node: Node<Target>, path: string, start: number, found: Set<string>): void {
  if (start > path.length) {
    for (const httpMethod of node.ends.keys()) found.add(httpMethod);
    return;
  }
  const end = endOfSegment(path, start);
  const literal = node.literals.get(literalText(path.slice(start, end)));
  if (literal !== undefined) collectFrom(literal, path, end + 1, found);
  if (node.one !== undefined && end > start) collectFrom(node.one, path, end + 1, found);
  for (const httpMethod of node.rests.keys()) found.add(httpMethod);
}

function endOfSegment(path: string, start: number): number {
  const slash = path.indexOf("/", start);
  return slash < 0 ? path.length : slash;
}

/** `%6Beys` and `keys` are the same path (RFC 3986 section 6.2.2.2). A segment that can't be decoded matches no literal. */
export function literalText(segment: string): string {
  return segment.includes("%") ? (decodePercent(segment) ?? segment) : segment;
}
