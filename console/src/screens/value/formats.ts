/** The forms in which a value can be seen and edited. */
import { compactJson, isValidJson, layOutJson } from "./json-layout.js";

export const FORMATS = [
  ["json", "JSON"],
  ["text", "Text"],
  ["hex", "Hex"],
  ["base64", "Base64"],
  ["image", "Image"],
] as const;
export type Format = (typeof FORMATS)[number][0];

const HEX_BYTES_A_LINE = 16;
const BASE64_LINE = /.{76}(?=.)/g;
const IMAGE_STARTS: readonly (readonly [type: string, start: readonly number[]])[] = [
  ["image/png", [0x89, 0x50, 0x4e, 0x47]],
  ["image/jpeg", [0xff, 0xd8, 0xff]],
  ["image/gif", [0x47, 0x49, 0x46, 0x38]],
  ["image/webp", [0x52, 0x49, 0x46, 0x46]],
];

/** The media type to show the value as an image; undefined if it is none. */
export function imageTypeOf(bytes: Uint8Array, contentType: string): string | undefined {
  if (/^image\//.test(contentType)) return contentType;
  return IMAGE_STARTS.find(([, start]) => start.every((byte, index) => bytes[index] === byte))?.[0];
}

/** The text of the bytes; undefined if they are no UTF-8. */
export function textOf(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** The forms that this value has; the first is the one that says most. */
export function formatsOf(bytes: Uint8Array, contentType: string): readonly Format[] {
  const text = textOf(bytes);
  const hasControls = text !== undefined && /(?![\t\n\f\r])\p{Cc}/u.test(text);
  const formats: Format[] = [];
  if (imageTypeOf(bytes, contentType) !== undefined) formats.push("image");
  if (text !== undefined && !hasControls) {
    const isJson = isValidJson(text) || /[/+]json\b/.test(contentType);
    formats.push(...(isJson ? (["json", "text"] as const) : (["text", "json"] as const)));
  }
  formats.push("hex", "base64");
  return formats;
}

/** The value in this form. */
export function format(bytes: Uint8Array, form: Format): string {
  switch (form) {
    case "json": {
      const text = textOf(bytes) ?? "";
      return layOutJson(text) ?? text;
    }
    case "text":
      return textOf(bytes) ?? "";
    case "hex":
      return hexLinesOf(bytes).join("\n");
    default:
      return toBase64(bytes).replace(BASE64_LINE, "$&\n");
  }
}

/** Whether the value is JSON on one line, as programs write it. It stays so when it is edited. */
export function isCompactJson(bytes: Uint8Array): boolean {
  const text = textOf(bytes);
  return text !== undefined && !text.includes("\n") && isValidJson(text);
}

/** Reads what a user wrote; a text is the reason why it can't be read. `isCompact`: whether JSON loses the layout that the editor added. */
export function parse(text: string, form: Format, isCompact: boolean): Uint8Array<ArrayBuffer> | string {
  if (form === "hex") {
    const digits = text.replace(/\s/g, "");
    if (!/^([0-9a-f]{2})*$/i.test(digits)) return "Write pairs of hexadecimal digits, such as 48 65 6c.";
    return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
  }
  if (form === "base64") {
    try {
      return Uint8Array.from(atob(text.replace(/\s/g, "")), (character) => character.charCodeAt(0));
    } catch {
      return "This is not valid base64.";
    }
  }
  if (form === "json") {
    try {
      JSON.parse(text);
    } catch (error) {
      return `This is not valid JSON: ${error instanceof Error ? error.message : String(error)}. To save it as it is, choose Text.`;
    }
    return new TextEncoder().encode(isCompact ? compactJson(text) : text);
  }
  return new TextEncoder().encode(text);
}

export function toBase64(bytes: Uint8Array): string {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}

function hexLinesOf(bytes: Uint8Array): string[] {
  const lines: string[] = [];
  for (let start = 0; start < bytes.length; start += HEX_BYTES_A_LINE) {
    const line = bytes.subarray(start, start + HEX_BYTES_A_LINE);
    lines.push(Array.from(line, (byte) => byte.toString(16).padStart(2, "0")).join(" "));
  }
  return lines;
}
