/** Counting semaphore: callers that find none free wait in order. */
export class Semaphore {
  private free: number;
  private readonly waiting = new Set<() => void>();

  constructor(places: number) {
    this.free = places;
  }

  /** Resolves with the function that releases the place; it may be called more than once. Undefined if the wait was abandoned. */
  async acquire(giveUp: { onGiveUp: (() => void) | undefined }): Promise<(() => void) | undefined> {
    if (this.free > 0) {
      this.free--;
      return this.releaser();
    }
    return new Promise((resolve) => {
      const turn = (): void => {
        giveUp.onGiveUp = undefined;
        resolve(this.releaser());
      };
      giveUp.onGiveUp = () => {
        this.waiting.delete(turn);
        resolve(undefined);
      };
      this.waiting.add(turn);
    });
  }

  private releaser(): () => void {
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      const [next] = this.waiting;
      if (next === undefined) {
        this.free++;
      } else {
        this.waiting.delete(next);
        next();
      }
    };
  }
}
