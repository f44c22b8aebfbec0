/** Which `Host` or `:authority` can be part of a URL: those that can't would throw where a URL is made of them. */

/** Hosts seen lately: a service is known by few names, and making a URL costs more than answering a call. */
const known = new Map<string, boolean>();
const KNOWN_MAX = 1_000;

/** Whether a URL can be made with it. */
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
