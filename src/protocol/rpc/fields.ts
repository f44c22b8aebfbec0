/** Header and trailer fields, as they are handed to Node. */
import type { RpcCall } from "./call.js";

/** Fields by lower-case name. Never changed once they are written: calls may share them. */
export type Fields = Record<string, string>;

/** Adds the fields of a Headers object, in the place of those of the same name. */
export function addFields(fields: Fields, headers: Headers | undefined, prefix = ""): void {
  headers?.forEach((value, name) => {
    fields[prefix + name] = value;
  });
}

/** The headers of an answer whose messages are in envelopes: the compression is named where it may be used, not only where it was. */
export function envelopedHeaders(call: RpcCall): Fields {
  const fields: Fields = { "content-type": call.form.contentType };
  if (call.acceptsGzip) fields[call.form.encodingHeader] = "gzip";
  call.addOwnHeaders(fields);
  return fields;
}
