/** Returns a function that runs at once, and, if it is called more often than the interval allows, once more after it. */
export function throttled(run: () => void, intervalMs: number): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isDue = false;
  const call = (): void => {
    if (timer !== undefined) {
      isDue = true;
      return;
    }
    run();
    timer = setTimeout(() => {
      timer = undefined;
      if (!isDue) return;
      isDue = false;
      call();
    }, intervalMs);
  };
  return call;
}
