/**
 * Path templates of `google.api.http` (google/api/http.proto, "Path template syntax"):
 *
 *     Template = "/" Segments ;  Segments = Segment { "/" Segment } ;  Segment = "*" | "**" | LITERAL | Variable ;
 *     Variable = "{" FieldPath [ "=" Segments ] "}" ;  FieldPath = IDENT { "." IDENT } ;
 *
 * `**` may only come last. Verbs (`:cancel` at the end) are not supported.
 */

/** A path segment: `literal` text, any `one` non-empty segment, or the `rest` of the path (may be empty or contain slashes). */
export type Segment =
  { readonly kind: "literal"; readonly text: string } | { readonly kind: "one" } | { readonly kind: "rest" };

/** A request field that is set to the text of the segments from `first` to `end` (exclusive). */
export interface Variable {
  readonly fieldPath: string;
  readonly first: number;
  readonly end: number;
}

/** A parsed template. */
export interface PathTemplate {
  readonly segments: readonly Segment[];
  readonly variables: readonly Variable[];
}

/** The template is malformed or not supported. */
export class TemplateError extends Error {
  override readonly name = "TemplateError";
}

/** Parses a template. Throws {@link TemplateError}. */
export function parsePathTemplate(text: string): PathTemplate {
  return new Parser(text).parse();
}

/** The template as text, with variables in their shortest form. Inverse of {@link parsePathTemplate}. */
export function formatPathTemplate(template: PathTemplate): string {
  let text = "";
  for (let index = 0; index < template.segments.length; index++) {
    const variable = template.variables.find(({ first }) => first === index);
    if (variable === undefined) {
      text += `/${formatSegment(template.segments[index])}`;
      continue;
    }
    const covered = template.segments.slice(variable.first, variable.end).map(formatSegment).join("/");
    text += covered === "*" ? `/{${variable.fieldPath}}` : `/{${variable.fieldPath}=${covered}}`;
    index = variable.end - 1;
  }
  return text;
}

function formatSegment(segment: Segment | undefined): string {
  if (segment?.kind === "literal") return segment.text;
  return segment?.kind === "rest" ? "**" : "*";
}

/** Unreserved URI characters (RFC 3986 section 2.3). Others would need percent-encoding rules. */
const LITERAL = /[A-Za-z0-9._~-]+/y;
const FIELD_PATH = /[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*/y;

class Parser {
  private position = 0;
  private readonly segments: Segment[] = [];
  private readonly variables: Variable[] = [];

  constructor(private readonly text: string) {}

  parse(): PathTemplate {
    this.expect("/");
    this.parseSegments(false);
    if (this.text[this.position] === ":") throw this.error("verbs are not supported");
    if (this.position < this.text.length) throw this.error("a '/' or the end is expected");
    const rest = this.segments.findIndex(({ kind }) => kind === "rest");
    if (rest >= 0 && rest < this.segments.length - 1) throw this.error("'**' may only come last");
    return { segments: this.segments, variables: this.variables };
  }

  private parseSegments(isInVariable: boolean): void {
    do {
      if (this.take("{")) {
        if (isInVariable) throw this.error("a variable can't hold another one");
        this.parseVariable();
      } else {
        this.segments.push(this.parseSegment());
      }
    } while (this.take("/"));
  }

  private parseSegment(): Segment {
    if (this.take("**")) return { kind: "rest" };
    if (this.take("*")) return { kind: "one" };
    return { kind: "literal", text: this.takePattern(LITERAL, "a literal, '*', '**' or '{' is expected") };
  }

  private parseVariable(): void {
    const fieldPath = this.takePattern(FIELD_PATH, "a field name is expected");
    if (this.variables.some((other) => other.fieldPath === fieldPath)) {
      throw this.error(`the field ${fieldPath} is used twice`);
    }
    const first = this.segments.length;
    if (this.take("=")) this.parseSegments(true);
    else this.segments.push({ kind: "one" });
    this.expect("}");
    this.variables.push({ fieldPath, first, end: this.segments.length });
  }

  private take(text: string): boolean {
    if (!this.text.startsWith(text, this.position)) return false;
    this.position += text.length;
    return true;
  }

  private takePattern(pattern: RegExp, problem: string): string {
    pattern.lastIndex = this.position;
    const found = pattern.exec(this.text)?.[0];
    if (found === undefined) throw this.error(problem);
    this.position += found.length;
    return found;
  }

  private expect(character: string): void {
    if (!this.take(character)) throw this.error(`a '${character}' is expected`);
  }

  private error(problem: string): TemplateError {
    return new TemplateError(`${problem} at position ${this.position} of ${JSON.stringify(this.text)}`);
  }
}
