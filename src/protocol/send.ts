/** Sends complete responses. */
import type { Chunk, Exchange, Fields } from "./exchange.js";

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Fields>;
  /** Undefined: no body and no content type. */
  readonly body: Chunk | undefined;
}

/** Sends a response and returns its body's length. No effect if there was a response, or the client has disconnected. */
export function send(exchange: Exchange, { status, headers, body }: Answer): number {
  if (exchange.hasResponded || exchange.isClosed) return 0;
  const fields = withCommonFields(exchange, headers);
  if (body === undefined) {
    exchange.respond(status, fields);
    return 0;
  }
  const bytes = typeof body === "string" ? Buffer.byteLength(body) : body.length;
  fields["content-length"] = String(bytes);
  exchange.respond(status, fields, body);
  return bytes;
}

/** The fields of a response with those that all responses of the exchange have. */
export function withCommonFields(exchange: Exchange, headers: Readonly<Fields>): Fields {
  const { commonFields } = exchange;
  const fields = { ...commonFields, ...headers };
  if (headers.vary !== undefined && commonFields.vary !== undefined)
    fields.vary = `${commonFields.vary}, ${headers.vary}`;
  return fields;
}
