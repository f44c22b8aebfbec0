/**
 * How text in messages is decoded. TextDecoder takes up to 10 microseconds for a key, and a page has thousands of them: texts of ASCII characters, which
 * most keys are, are decoded without it. By default it also removes a byte order mark, with which a key may begin.
 */
import { configureTextEncoding, getTextEncoding } from "@bufbuild/protobuf/wire";

/** Arguments of a function are on the stack: not too many at once. */
const SHORT_BYTES_MAX = 512;

export function decodeTextFast(): void {
  const { encodeUtf8, checkUtf8 } = getTextEncoding();
  const lenient = new TextDecoder("utf-8", { ignoreBOM: true });
  const strict = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });
  configureTextEncoding({
    encodeUtf8,
    checkUtf8,
    decodeUtf8: (bytes, isStrict) =>
      isShortAscii(bytes)
        ? String.fromCharCode(...bytes)
        : (isStrict === true ? strict : lenient).decode(bytes),
  });
}

function isShortAscii(bytes: Uint8Array): boolean {
  if (bytes.length > SHORT_BYTES_MAX) return false;
  for (const byte of bytes) if (byte > 0x7f) return false;
  return true;
}
