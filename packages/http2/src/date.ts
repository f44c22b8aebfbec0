/** The value of the `date` header field (RFC 9110 section 6.6.1), formatted once a second. */
let second = 0;
let text = "";

export function dateText(): string {
  const now = Math.floor(Date.now() / 1_000);
  if (now !== second) {
    second = now;
    text = new Date(now * 1_000).toUTCString();
  }
  return text;
}
