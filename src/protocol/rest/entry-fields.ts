/** Headers of REST that carry an entry's TTL and metadata. */
import { create } from "@bufbuild/protobuf";
import { type Duration, DurationSchema } from "@bufbuild/protobuf/wkt";
import type { IncomingHttpHeaders } from "node:http";
import type { Entry } from "../../../gen/ironflow/kv/v1/types_pb.js";
import { isMetadataName, malformedMetadataName } from "../../kv/metadata.js";
import type { Fields } from "../exchange.js";
import { badRequest } from "./errors.js";
import { writeTime } from "./json.js";
import { decodePercent } from "./percent.js";

const METADATA_PREFIX = "x-kv-meta-";
const EXPIRES_AT = "x-kv-expires-at";
const WHOLE_SECONDS = /^\d{1,12}$/;
/** Visible ASCII except `%`. Other characters are percent-encoded in UTF-8. */
const ENCODED = /[^\x21-\x24\x26-\x7e]+/g;
const HEADER_VALUE = /^[\x20-\x7e]*$/;

/** Whether a header, in lower case, holds metadata. */
export function isMetadataHeader(name: string): boolean {
  return name.startsWith(METADATA_PREFIX) && isMetadataName(name.slice(METADATA_PREFIX.length));
}

/** A TTL in whole seconds. Throws a 400. */
export function parseTtl(text: string, name: string): Duration {
  if (WHOLE_SECONDS.test(text)) return create(DurationSchema, { seconds: BigInt(text) });
  throw badRequest(`${name} is ${JSON.stringify(text.slice(0, 80))}; it must be whole seconds, such as 60.`);
}

/** The TTL of a write: of the header `Ttl`, or the parameter `ttl_seconds`, which was read before. Throws a 400. */
export function ttlOfHeader(
  headers: IncomingHttpHeaders,
  parameter: Duration | undefined,
): Duration | undefined {
  const { ttl } = headers;
  if (ttl === undefined) return parameter;
  if (parameter !== undefined)
    throw badRequest("Ttl and ttl_seconds are both set; a write takes one of them.");
  return parseTtl(String(ttl), "Ttl");
}

/** The metadata in the headers of a write. Throws a 400. */
export function metadataOfHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const metadata: Record<string, string> = {};
  for (const header in headers) {
    if (!header.startsWith(METADATA_PREFIX)) continue;
    const text = String(headers[header]);
    const value = HEADER_VALUE.test(text) ? decodePercent(text) : undefined;
    if (value === undefined) {
      throw badRequest(
        `${header} is ${JSON.stringify(text.slice(0, 80))}; it must be ASCII, with other characters and % percent-encoded in UTF-8.`,
      );
    }
    const name = header.slice(METADATA_PREFIX.length);
    if (!isMetadataName(name)) throw badRequest(malformedMetadataName(name));
    metadata[name] = value;
  }
  return metadata;
}

/** The headers of an entry's TTL and metadata. */
export function entryHeaders({ expiresAt, metadata }: Entry): Fields {
  const fields: Fields = {};
  if (expiresAt !== undefined) fields[EXPIRES_AT] = writeTime(expiresAt);
  for (const name in metadata)
    fields[METADATA_PREFIX + name] = (metadata[name] ?? "").replace(ENCODED, encodeURIComponent);
  return fields;
}

function isEmpty(map: object): boolean {
  for (const name in map) if (Object.hasOwn(map, name)) return false;
  return true;
}

/** The same as members of a JSON object, each after a comma. */
export function entryMembers({ expiresAt, metadata }: Entry): string {
  const expiry = expiresAt === undefined ? "" : `,"expires_at":"${writeTime(expiresAt)}"`;
  return isEmpty(metadata) ? expiry : `${expiry},"metadata":${JSON.stringify(metadata)}`;
}
