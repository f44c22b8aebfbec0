/** What a method's REST form may have of its own; see shapes.ts for the table. */
import type { DescMessage, DescMethod, MessageShape } from "@bufbuild/protobuf";
import type { HttpCall } from "./call.js";
import type { HeaderFields } from "./errors.js";

/** What is sent back. */
export interface Answer {
  readonly status: number;
  readonly headers: HeaderFields;
  /** Undefined: no body and no content type. */
  readonly body: string | Uint8Array | undefined;
}

/**
 * The parts of a method's REST form that do not follow from the contract. Each is optional: without it, parameters are the request's
 * fields by name, a JSON body is proto JSON, and so is the answer, with names in snake_case.
 */
export interface Shape<Input extends DescMessage = DescMessage, Output extends DescMessage = DescMessage> {
  /** Query parameters with a name or meaning of their own. */
  readonly parameters?: Readonly<Record<string, Parameter<Input>>>;
  /** Request fields that are no query parameters: headers carry them, or the answer has no place for what they ask. */
  readonly withoutParameters?: readonly string[];
  /** The code of a 413. Default: body_too_large. */
  readonly tooLargeCode?: string;
  /** Puts what the headers and the bridge's own parameters say into the request. Runs before the body is read. */
  readHeaders?(call: HttpCall<Input>): void;
  /** Puts the JSON body into the request. */
  readBody?(body: Readonly<Record<string, unknown>>, request: MessageShape<Input>): void;
  /** The answer to a unary call. */
  answer?(response: MessageShape<Output>, call: HttpCall<Input>, path: string): Answer;
  /** The answer to a call that lists in pages; in place of `answer`. */
  readonly list?: ListShape<Input, Output>;
}

/** The JSON of a list in parts, so that a whole list can be sent page by page. */
export interface ListShape<
  Input extends DescMessage = DescMessage,
  Output extends DescMessage = DescMessage,
> {
  /** The `limit` of each page where the request has neither limit nor token. Default: 0, the most. */
  readonly pageLimit?: number;
  /** What comes before the first item. */
  begin(call: HttpCall<Input>): string;
  /** The items of a page. */
  items(page: MessageShape<Output>): readonly string[];
  /** What comes after the last item. */
  end(count: number, nextPageToken: string): string;
}

/** The end of a list that tells how many items came before it. */
export function endWithCount(count: number, nextPageToken: string): string {
  const token = nextPageToken === "" ? "" : `,"next_page_token":${JSON.stringify(nextPageToken)}`;
  return `],"count":${count}${token}}`;
}

/** A query parameter. */
export interface Parameter<Input extends DescMessage = DescMessage> {
  /** Whether it may be given more than once. Default: no, that is a 400. */
  readonly repeats?: boolean;
  /** Takes its text. Throws a 400. */
  read(call: HttpCall<Input>, text: string, name: string): void;
}

/** Ties a shape to its method; the table forgets the types, which the method's descriptor fixes. */
export function shapeOf<Method extends DescMethod>(
  method: Method,
  shape: Shape<Method["input"], Method["output"]>,
): readonly [DescMethod, Shape] {
  return [method, shape];
}

/** A JSON answer; caches must ask again each time (RFC 9111 section 5.2.2.4): reads see every acknowledged write. */
export function jsonAnswer(status: number, body: string, headers: HeaderFields = {}): Answer {
  return {
    status,
    headers: { "content-type": "application/json", "cache-control": "no-cache", ...headers },
    body,
  };
}

/** How messages without a form of their own are written. */
export const PROTO_JSON = { useProtoFieldName: true, alwaysEmitImplicit: true };

/** 204. */
export function emptyAnswer(): Answer {
  return { status: 204, headers: {}, body: undefined };
}
