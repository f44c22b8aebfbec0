/** Metadata: text pairs that are stored with a value. */
import { invalidArgument } from "./errors.js";
import type { Limits } from "./limits.js";
import { quote } from "./names.js";

/** Lower-case, so that a name is the same in HTTP headers of every version, and a token (RFC 9110 section 5.6.2) that proxies pass on. */
const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;

/** Throws `invalid_argument` unless the names, values and sizes are valid. */
export function checkMetadata(metadata: Readonly<Record<string, string>>, limits: Limits): void {
  const { metadataPairsMax, metadataBytesMax } = limits;
  const pairs = Object.entries(metadata);
  if (pairs.length > metadataPairsMax) {
    throw invalidArgument(
      `The metadata has ${pairs.length} pairs; it must have at most ${metadataPairsMax}.`,
    );
  }
  let bytes = 0;
  for (const [name, value] of pairs) {
    if (!isMetadataName(name)) throw invalidArgument(malformedMetadataName(name));
    if (!value.isWellFormed()) {
      throw invalidArgument(
        `The metadata value of ${quote(name)} has a lone surrogate; it must be well-formed Unicode.`,
      );
    }
    bytes += name.length + Buffer.byteLength(value);
  }
  if (bytes > metadataBytesMax) {
    throw invalidArgument(
      `The metadata has ${bytes} bytes of names and values; it must have at most ${metadataBytesMax}.`,
    );
  }
}

export function isMetadataName(name: string): boolean {
  return NAME.test(name);
}

/** The sentence of an error about a name. */
export function malformedMetadataName(name: string): string {
  return `The metadata name ${quote(name)} is malformed; it must be 1 to 64 of "a-z 0-9 - _ .", and begin with a letter or digit.`;
}
