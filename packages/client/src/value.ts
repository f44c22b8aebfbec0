/** Encodes values as bytes with a media type. */
import type { Duration } from "@bufbuild/protobuf/wkt";
import { metadataOf, ttlOf } from "./convert.js";

/** A value that can be stored: a string, bytes in any form, or anything that JSON can encode. Not `undefined`. */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type -- exactly "anything but undefined"
export type Storable = {} | null;

/** Types that JSON.stringify silently encodes as `{}`. */
const UNENCODABLE_TYPES = [Map, Set, WeakMap, WeakSet, Promise];

/** An encoded value. */
export interface EncodedValue {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Empty: none. */
  readonly contentType: string;
}

/**
 * Encodes strings as UTF-8 (`text/plain; charset=utf-8`), ArrayBuffer and its views as their bytes (no media type), and everything else
 * as JSON (`application/json`). Copies the bytes, so the caller may reuse its buffer. Throws TypeError for values that JSON can't encode.
 */
export function encodeValue(value: Storable, contentType: string | undefined): EncodedValue {
  if (typeof value === "string") {
    return {
      bytes: new TextEncoder().encode(value),
      contentType: contentType ?? "text/plain; charset=utf-8",
    };
  }
  const bytes = bytesOf(value);
  if (bytes !== undefined) return { bytes, contentType: contentType ?? "" };
  return { bytes: new TextEncoder().encode(jsonOf(value)), contentType: contentType ?? "application/json" };
}

/** The options of a stored value. */
export interface ValueOptions {
  readonly contentType?: string | undefined;
  readonly ttlSeconds?: number | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

/** The fields that PutRequest and the put of a commit share. */
export interface ValueFields {
  readonly value: Uint8Array<ArrayBuffer>;
  readonly contentType: string;
  readonly metadata: Record<string, string>;
  readonly ttl?: Duration;
}

export function valueFields(value: Storable, options: ValueOptions): ValueFields {
  const { bytes, contentType } = encodeValue(value, options.contentType);
  const ttl = options.ttlSeconds === undefined ? {} : { ttl: ttlOf(options.ttlSeconds) };
  return { value: bytes, contentType, metadata: metadataOf(options.metadata), ...ttl };
}

function bytesOf(value: Storable): Uint8Array<ArrayBuffer> | undefined {
  if (ArrayBuffer.isView(value)) {
    return new Uint8Array(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
  }
  if (value instanceof ArrayBuffer) return new Uint8Array(value.slice(0));
  return undefined;
}

function jsonOf(value: Storable): string {
  if (UNENCODABLE_TYPES.some((type) => value instanceof type)) {
    throw new TypeError(
      `A ${value?.constructor.name ?? "value"} has no JSON encoding; store a string, bytes or a plain object.`,
    );
  }
  if (typeof Blob !== "undefined" && value instanceof Blob) {
    throw new TypeError("A Blob can't be stored directly; store await blob.arrayBuffer().");
  }
  // JSON.stringify returns undefined for undefined, functions and symbols, which its declared type hides.
  const json = JSON.stringify(value) as string | undefined;
  if (json === undefined) {
    throw new TypeError(`A value of type ${typeof value} can't be stored; store a string, bytes or JSON.`);
  }
  return json;
}
