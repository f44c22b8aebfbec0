// The keys of the large bucket: 40 bytes each, 1,000 below each of 1,000 prefixes.
export const VALUE = Buffer.alloc(128, "v");

export function keyOf(number) {
  const tenant = String(number % 1_000).padStart(4, "0");
  return `tenant-${tenant}.session.${String(number).padStart(20, "0")}`;
}
