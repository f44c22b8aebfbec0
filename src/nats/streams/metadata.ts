/** The stored form of metadata: one header, `name=value&name=value&`, in UTF-8. */
import { isMetadataName } from "../../kv/metadata.js";

/** Holds an entry's metadata. `%` and the characters that would end a pair or the header are percent-encoded; all else is stored as it is. */
export const METADATA_HEADER = "Ironflow-Metadata";

type Metadata = Readonly<Record<string, string>>;

// eslint-disable-next-line no-control-regex
const ESCAPED = /[%&\u0000-\u0020\u007f]/g;
const ESCAPE = /%([0-9A-F]{2})/g;

/** The header's value in `latin1`, as header blocks are written; empty if there is no pair. */
export function encodeMetadata(metadata: Metadata): string {
  // Each pair ends in `&`: the last byte of a value may look like a space in latin1, which readers of headers cut off.
  const text = Object.entries(metadata)
    .map(([name, value]) => `${name}=${value.replace(ESCAPED, escapeCharacter)}&`)
    .join("");
  return Buffer.from(text, "utf8").toString("latin1");
}

/** The pairs of a header's value, as read from a header block; undefined if there are none. Ignores what is not a valid pair. */
export function decodeMetadata(header: string): Metadata | undefined {
  if (header === "") return undefined;
  const metadata: Record<string, string> = {};
  for (const pair of Buffer.from(header, "latin1").toString("utf8").split("&")) {
    const at = pair.indexOf("=");
    const name = pair.slice(0, Math.max(at, 0));
    // Another program may have stored any name.
    if (!isMetadataName(name)) continue;
    metadata[name] = pair
      .slice(at + 1)
      .replace(ESCAPE, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
  }
  return metadata;
}

function escapeCharacter(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`;
}
