/** Connect's GET: the request message in the query. https://connectrpc.com/docs/protocol#unary-get-request */
import { base64Decode } from "@bufbuild/protobuf/wire";
import { CONNECT_JSON, CONNECT_PROTO, type WireForm } from "./wire-form.js";

/** A query that every URL parser reads the same way: printable ASCII without a fragment. */
const PLAIN_TARGET = /^[\x21-\x22\x24-\x7e]*$/;

const FORM_BY_ENCODING = new Map<string | null, WireForm>([
  ["proto", CONNECT_PROTO],
  ["json", CONNECT_JSON],
]);

export interface GetMessage {
  readonly form: WireForm;
  readonly bytes: Uint8Array;
}

/** The message in a query string; undefined if the stock adapter must handle it: compressed, malformed, or another codec. */
export function messageOf(query: string): GetMessage | undefined {
  if (!PLAIN_TARGET.test(query)) return undefined;
  const parameters = new URLSearchParams(query);
  const form = FORM_BY_ENCODING.get(parameters.get("encoding"));
  const compression = parameters.get("compression");
  if (form === undefined || (compression !== null && compression !== "identity")) return undefined;
  const message = parameters.get("message") ?? "";
  if (parameters.get("base64") !== "1") return { form, bytes: Buffer.from(message) };
  try {
    return { form, bytes: base64Decode(message) };
  } catch {
    return undefined;
  }
}
