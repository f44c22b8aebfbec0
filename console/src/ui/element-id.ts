/** An id for the element of a key or a path: a different one for each. */
export function elementId(kind: string, path: string): string {
  return `${kind}-${encodeURIComponent(path).replaceAll("_", "%5F").replaceAll("%", "_")}`;
}
