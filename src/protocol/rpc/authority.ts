/** Whether a `Host` or `:authority` is valid in a URL. An invalid one would make the URL constructor throw. */

/** Results by host: a service has few names, and parsing a URL costs more than answering a call. */
const known = new Map<string, boolean>();
const KNOWN_MAX = 1_000;

/** Whether a URL with this authority parses. */
export function isUsableAuthority(authority: string | undefined): boolean {
  if (authority === undefined) return false;
  let isUsable = known.get(authority);
  if (isUsable === undefined) {
    isUsable = URL.canParse(`http://${authority}`);
    if (known.size >= KNOWN_MAX) known.clear();
    known.set(authority, isUsable);
  }
  return isUsable;
}
