/** Sends complete responses. */
import type { Chunk, Exchange, Fields } from "./exchange.js";

export interface Answer {
  readonly status: number;
  readonly headers: Fields;
  /** Undefined: no body and no content type. */
  readonly body: Chunk | undefined;
}

/** Sends a response and returns its body's length. Adds to `headers`. No effect if there was a response, or the client has disconnected. */
export function send(exchange: Exchange, { status, headers, body }: Answer): number {
  if (exchange.hasResponded || exchange.isClosed) return 0;
  const fields = addCommonFields(exchange, headers);
  if (body === undefined) {
    exchange.respond(status, fields);
    return 0;
  }
  const bytes = typeof body === "string" ? Buffer.byteLength(body) : body.length;
  fields["content-length"] = String(bytes);
  exchange.respond(status, fields, body);
  return bytes;
}

/** Adds the fields that all responses of the exchange have. Not by spreading both: that costs more than writing them. */
export function addCommonFields({ commonFields }: Exchange, headers: Fields): Fields {
  for (const name in commonFields) {
    const common = commonFields[name] ?? "";
    const own = headers[name];
    if (own === undefined) headers[name] = common;
    else if (name === "vary") headers.vary = `${common}, ${own}`;
  }
  return headers;
}
