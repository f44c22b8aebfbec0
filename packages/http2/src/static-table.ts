/** The fields that every HPACK decoder knows: https://www.rfc-editor.org/rfc/rfc7541 appendix A. Index 1 is the first. */

/** Names with the values that are known with them; a name without any has one entry with an empty value. */
const ENTRIES: readonly (readonly [name: string, ...values: string[]])[] = [
  [":authority"],
  [":method", "GET", "POST"],
  [":path", "/", "/index.html"],
  [":scheme", "http", "https"],
  [":status", "200", "204", "206", "304", "400", "404", "500"],
  ["accept-charset"],
  ["accept-encoding", "gzip, deflate"],
  ["accept-language"],
  ["accept-ranges"],
  ["accept"],
  ["access-control-allow-origin"],
  ["age"],
  ["allow"],
  ["authorization"],
  ["cache-control"],
  ["content-disposition"],
  ["content-encoding"],
  ["content-language"],
  ["content-length"],
  ["content-location"],
  ["content-range"],
  ["content-type"],
  ["cookie"],
  ["date"],
  ["etag"],
  ["expect"],
  ["expires"],
  ["from"],
  ["host"],
  ["if-match"],
  ["if-modified-since"],
  ["if-none-match"],
  ["if-range"],
  ["if-unmodified-since"],
  ["last-modified"],
  ["link"],
  ["location"],
  ["max-forwards"],
  ["proxy-authenticate"],
  ["proxy-authorization"],
  ["range"],
  ["referer"],
  ["refresh"],
  ["retry-after"],
  ["server"],
  ["set-cookie"],
  ["strict-transport-security"],
  ["transfer-encoding"],
  ["user-agent"],
  ["vary"],
  ["via"],
  ["www-authenticate"],
];

export const STATIC_NAMES: readonly string[] = ENTRIES.flatMap(([name, ...values]) =>
  values.length === 0 ? [name] : values.map(() => name),
);
export const STATIC_VALUES: readonly string[] = ENTRIES.flatMap(([, ...values]) =>
  values.length === 0 ? [""] : values,
);
export const STATIC_COUNT = STATIC_NAMES.length;

/** The first index of a name; undefined where there is none. */
export const STATIC_INDEX: ReadonlyMap<string, number> = new Map(
  STATIC_NAMES.map((name, at) => [name, at + 1] as const).reverse(),
);
