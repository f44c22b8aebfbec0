/** A wait that can be cut short. */
export interface Delay {
  /** Resolves when the time is over or the wait was cut short. */
  readonly over: Promise<void>;
  cancel(): void;
}

export function delayed(timeMs: number): Delay {
  let cancel: () => void = () => undefined;
  const over = new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, timeMs);
    cancel = () => {
      clearTimeout(timer);
      resolve();
    };
  });
  return { over, cancel };
}
