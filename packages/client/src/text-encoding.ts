/**
 * How texts of binary messages are decoded. The library's TextDecoder removes a byte order mark at the start of a text (Encoding Standard, "UTF-8 decode"),
 * so that two keys would become one. A protobuf string keeps each of its characters.
 */
import { configureTextEncoding, getTextEncoding } from "@bufbuild/protobuf/wire";

const MARK_BYTES = Uint8Array.of(0xef, 0xbb, 0xbf);

/** Applies to the whole process. Repeated calls have no effect. */
export function keepByteOrderMarks(): void {
  const { encodeUtf8, checkUtf8, decodeUtf8 } = getTextEncoding();
  if (decodeUtf8(MARK_BYTES) !== "") return;
  const lenient = new TextDecoder("utf-8", { ignoreBOM: true });
  const strict = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });
  configureTextEncoding({
    encodeUtf8,
    checkUtf8,
    decodeUtf8: (bytes, isStrict) => (isStrict === true ? strict : lenient).decode(bytes),
  });
}
