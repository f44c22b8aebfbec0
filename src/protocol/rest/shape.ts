/** The customisable parts of a method's REST form. shapes.ts has the table of all methods. */
import type { DescMessage, DescMethod, MessageShape } from "@bufbuild/protobuf";
import type { LargeValues } from "../large-values.js";
import type { HttpCall } from "./call.js";
import type { Fields } from "../exchange.js";
import type { Answer } from "../send.js";

export type { Answer } from "../send.js";

/**
 * The parts of a method's REST form that do not follow from the contract. Each is optional. By default, parameters are the request's fields
 * by name, and bodies are ProtoJSON with snake_case names.
 */
export interface Shape<Input extends DescMessage = DescMessage, Output extends DescMessage = DescMessage> {
  /** Query parameters that are not request fields, or have another meaning. */
  readonly parameters?: Readonly<Record<string, Parameter<Input>>>;
  /** Request fields that are not query parameters, because headers carry them or REST does not support them. */
  readonly withoutParameters?: readonly string[];
  /** The code of a 413. Default: body_too_large. */
  readonly tooLargeCode?: string;
  /** Sets request fields from headers and options. Runs before the body is read. */
  readHeaders?(call: HttpCall<Input>): void;
  /** Sets request fields from the JSON body. */
  readBody?(body: Readonly<Record<string, unknown>>, request: MessageShape<Input>): void;
  /** Creates the response to a unary call. */
  answer?(response: MessageShape<Output>, call: HttpCall<Input>, path: string): Answer | Promise<Answer>;
  /** For a stream that is no watch: a response as lines of JSON, each with its line end. It is sent as NDJSON. */
  lines?(response: MessageShape<Output>, call: HttpCall<Input>, large: LargeValues): string;
  /** For a stream that is a watch, but not of a bucket: a response as one frame of JSON. */
  frame?(response: MessageShape<Output>): { readonly json: string; readonly revision: bigint };
  /** For paged lists, in place of `answer`. */
  readonly list?: ListShape<Input, Output>;
}

/** The JSON of a list in parts, to send a complete list page by page. */
export interface ListShape<
  Input extends DescMessage = DescMessage,
  Output extends DescMessage = DescMessage,
> {
  /** The `limit` of each page if the request has neither limit nor token. Default: 0, the maximum. */
  readonly pageLimit?: number;
  /** The JSON before the first item. */
  begin(call: HttpCall<Input>): string;
  /** The items of a page. */
  items(page: MessageShape<Output>, large: LargeValues, call: HttpCall<Input>): readonly string[];
  /** The JSON after the last item. */
  end(count: number, nextPageToken: string): string;
}

/** The end of a list that includes the number of its items. */
export function endWithCount(count: number, nextPageToken: string): string {
  const token = nextPageToken === "" ? "" : `,"next_page_token":${JSON.stringify(nextPageToken)}`;
  return `],"count":${count}${token}}`;
}

/** A query parameter. */
export interface Parameter<Input extends DescMessage = DescMessage> {
  /** Whether the parameter is repeatable. Default: no; a second one is a 400. */
  readonly repeats?: boolean;
  /** Reads the parameter's text into the call. Throws a 400. */
  read(call: HttpCall<Input>, text: string, name: string): void;
}

/** Pairs a shape with its method, and erases the message types for the table. */
export function shapeOf<Method extends DescMethod>(
  method: Method,
  shape: Shape<Method["input"], Method["output"]>,
): readonly [DescMethod, Shape] {
  return [method, shape];
}

/** A JSON response. Caches must revalidate it (RFC 9111 section 5.2.2.4), so reads see every acknowledged write. */
export function jsonAnswer(status: number, body: string, headers: Fields = {}): Answer {
  return {
    status,
    headers: { "content-type": "application/json", "cache-control": "no-cache", ...headers },
    body,
  };
}

/** ProtoJSON options for messages without a custom form. */
export const PROTO_JSON = { useProtoFieldName: true, alwaysEmitImplicit: true };

/** 204. */
export function emptyAnswer(): Answer {
  return { status: 204, headers: {}, body: undefined };
}
