/** Header and trailer fields in the form that Node accepts. */
import type { RpcCall } from "./call.js";

/** Fields by lower-case name. Do not modify them after they are written: calls may share them. */
export type Fields = Record<string, string>;

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
