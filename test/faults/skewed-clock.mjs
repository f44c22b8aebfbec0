// Loaded into a process before its own code: shifts what Date says by CLOCK_SKEW_MS, as a wrong clock would, and by as much again after each
// CLOCK_STEP_MS (default: never). The monotonic clock stays as it is.
const skewMs = Number(process.env.CLOCK_SKEW_MS ?? 0);
const stepMs = Number(process.env.CLOCK_STEP_MS ?? Infinity);
const RealDate = Date;

const now = () => RealDate.now() + skewMs * (1 + Math.floor(performance.now() / stepMs));

globalThis.Date = class Date extends RealDate {
  constructor(...parts) {
    if (parts.length === 0) super(now());
    else super(...parts);
  }

  static now() {
    return now();
  }
};
