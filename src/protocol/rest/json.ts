/** JSON as the bridge writes it: revisions and sizes are numbers with all their digits, times are RFC 3339. */
import type { Timestamp } from "@bufbuild/protobuf/wkt";

/** What {@link writeJson} writes. Members that are undefined are left out. */
export type JsonShape =
  | string
  | number
  | bigint
  | boolean
  | null
  | readonly JsonShape[]
  | { readonly [name: string]: JsonShape | undefined };

/** As `JSON.stringify`, but a bigint becomes a number with exactly its digits, which that can't write. */
export function writeJson(value: JsonShape): string {
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  if (isList(value)) return `[${value.map(writeJson).join(",")}]`;
  let text = "";
  for (const name in value) {
    const member = value[name];
    if (member === undefined) continue;
    text += `${text === "" ? "" : ","}${JSON.stringify(name)}:${writeJson(member)}`;
  }
  return `{${text}}`;
}

function isList(value: object): value is readonly JsonShape[] {
  return Array.isArray(value);
}

/** RFC 3339 in UTC, in milliseconds, or in nanoseconds where these say more. */
export function writeTime(time: Timestamp): string {
  const milliseconds = Number(time.seconds) * 1_000 + Math.floor(time.nanos / 1_000_000);
  const text = new Date(milliseconds).toISOString();
  const rest = time.nanos % 1_000_000;
  return rest === 0 ? text : `${text.slice(0, -1)}${rest.toString().padStart(6, "0")}Z`;
}

/** Base64 of bytes, without a copy of them. */
export function writeBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}
