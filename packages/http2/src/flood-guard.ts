/** Counts what a client can repeat at little cost to itself. Too much of it ends the connection: ENHANCE_YOUR_CALM (RFC 9113 section 10.5). */
import { ErrorCode } from "./codes.js";
import { Http2Error } from "./errors.js";
import type { Http2Limits } from "./limits.js";
import { TokenBucket } from "./token-bucket.js";

/** Resets are averaged over this long: canceling a few hundred calls at once is normal. */
const RESET_WINDOW_SECONDS = 30;
/** Frames without content, such as empty DATA and PRIORITY: floods of them cost CPU (CVE-2019-9518). */
const EMPTY_FRAMES_BURST = 10_000;
const EMPTY_FRAMES_PER_SECOND = 1_000;
/** Changes of SETTINGS_INITIAL_WINDOW_SIZE: each one touches every stream. */
const WINDOW_CHANGES_BURST = 100;
const WINDOW_CHANGES_PER_SECOND = 5;

export class FloodGuard {
  private readonly resets: TokenBucket;
  private readonly emptyFrames = new TokenBucket(EMPTY_FRAMES_BURST, EMPTY_FRAMES_PER_SECOND);
  private readonly windowChanges = new TokenBucket(WINDOW_CHANGES_BURST, WINDOW_CHANGES_PER_SECOND);

  constructor(limits: Http2Limits) {
    const { streamResetsPerSecondMax: perSecond, streamsPerConnectionMax } = limits;
    // A client may cancel all of its calls at once.
    this.resets = new TokenBucket(
      Math.max(perSecond * RESET_WINDOW_SECONDS, streamsPerConnectionMax),
      perSecond,
    );
  }

  /** Counts a stream that either side reset before the response began. */
  countReset(): void {
    if (!this.resets.take()) throw tooMany("Too many streams were reset.");
  }

  /** Counts a frame that carries nothing. */
  countEmptyFrame(): void {
    if (!this.emptyFrames.take()) throw tooMany("Too many frames without content.");
  }

  countWindowChange(): void {
    if (!this.windowChanges.take()) throw tooMany("SETTINGS_INITIAL_WINDOW_SIZE changes too often.");
  }
}

function tooMany(message: string): Http2Error {
  return new Http2Error(ErrorCode.enhanceYourCalm, message);
}
