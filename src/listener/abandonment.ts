/** Notifies listeners that the client left before its response was complete. */

export class Abandonment {
  private hasHappened = false;
  private listeners: (() => void)[] | undefined;

  /** Calls the listener when the client leaves; at once if it already has. */
  listen(listener: () => void): void {
    if (this.hasHappened) listener();
    else if (this.listeners === undefined) this.listeners = [listener];
    else this.listeners.push(listener);
  }

  happen(): void {
    if (this.hasHappened) return;
    this.hasHappened = true;
    const { listeners } = this;
    this.listeners = undefined;
    for (const listener of listeners ?? []) listener();
  }
}
