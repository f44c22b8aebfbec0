/** What a server counts of all its connections, for metrics. */
import { ErrorCode } from "./codes.js";

export class Http2Counters {
  /** GOAWAY frames sent, by error code (RFC 9113 section 7). */
  readonly goAways = new Map<number, number>();
  /** RST_STREAM frames sent, by error code. REFUSED_STREAM: the request was not processed. */
  readonly resets = new Map<number, number>();
  /** RST_STREAM frames that clients sent for open streams. */
  clientResets = 0;

  countGoAway(code: number): void {
    this.goAways.set(code, (this.goAways.get(code) ?? 0) + 1);
  }

  countReset(code: number): void {
    this.resets.set(code, (this.resets.get(code) ?? 0) + 1);
  }
}

const NAMES = new Map<number, string>(
  Object.entries(ErrorCode).map(([name, code]) => [
    code,
    name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase(),
  ]),
);

/** The name of an error code (RFC 9113 section 7), such as ENHANCE_YOUR_CALM. */
export function errorCodeName(code: number): string {
  return NAMES.get(code) ?? String(code);
}
