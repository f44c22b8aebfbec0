/** Builds header and trailer fields. */
import type { Fields } from "../exchange.js";
import type { RpcCall } from "./call.js";

/** Of responses to Connect's GET. Caches must not answer a read: a stored response may be older than an acknowledged write. */
export const GET_HEADERS = { "cache-control": "no-store" };

/** Adds the fields of a Headers object; they replace fields of the same name. */
export function addFields(fields: Fields, headers: Headers | undefined, prefix = ""): void {
  headers?.forEach((value, name) => {
    fields[prefix + name] = value;
  });
}

/** The headers of an enveloped response. They name the compression if any message may use it, whether or not one does. */
export function envelopedHeaders(call: RpcCall): Fields {
  const fields: Fields = { "content-type": call.form.contentType };
  if (call.acceptsGzip) fields[call.form.encodingHeader] = "gzip";
  call.addOwnHeaders(fields);
  return fields;
}
