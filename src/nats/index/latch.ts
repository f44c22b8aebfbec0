/** A promise that its owner resolves. */
export interface Latch {
  readonly over: Promise<void>;
  readonly end: () => void;
}

export function newLatch(): Latch {
  let end = (): void => undefined;
  const over = new Promise<void>((resolve) => (end = resolve));
  return { over, end };
}
