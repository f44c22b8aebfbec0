/** Calls each watcher at its interval, with one timer for all of them. */

/** The resolution of intervals, in milliseconds: a call may be early by this much. */
const TICK_MS = 50;

export class ProgressTicker<Item extends object> {
  private readonly byTick = new Map<number, Set<Item>>();
  private readonly items = new Map<Item, { readonly everyTicks: number; due: number }>();
  private timer: NodeJS.Timeout | undefined;
  private tick = 0;

  constructor(private readonly call: (item: Item) => void) {}

  add(item: Item, intervalMs: number): void {
    if (this.items.size === 0) this.start();
    const everyTicks = Math.max(1, Math.floor(intervalMs / TICK_MS));
    const schedule = { everyTicks, due: this.tick };
    this.items.set(item, schedule);
    this.plan(item, schedule);
  }

  remove(item: Item): void {
    const schedule = this.items.get(item);
    if (schedule === undefined) return;
    this.items.delete(item);
    this.byTick.get(schedule.due)?.delete(item);
    if (this.items.size === 0) this.stop();
  }

  stop(): void {
    clearInterval(this.timer);
    this.timer = undefined;
    this.byTick.clear();
    this.items.clear();
  }

  private start(): void {
    this.tick = now();
    this.timer = setInterval(() => this.callDue(), TICK_MS);
    this.timer.unref();
  }

  /** Also calls items of missed ticks: the process may have been suspended. */
  private callDue(): void {
    for (const last = now(); this.tick <= last; this.tick++) {
      const due = this.byTick.get(this.tick);
      if (due === undefined) continue;
      this.byTick.delete(this.tick);
      for (const item of due) {
        const schedule = this.items.get(item);
        if (schedule === undefined) continue;
        this.plan(item, schedule);
        this.call(item);
      }
    }
  }

  private plan(item: Item, schedule: { readonly everyTicks: number; due: number }): void {
    schedule.due = Math.max(this.tick, now()) + schedule.everyTicks;
    const due = this.byTick.get(schedule.due);
    if (due === undefined) this.byTick.set(schedule.due, new Set([item]));
    else due.add(item);
  }
}

function now(): number {
  return Math.floor(performance.now() / TICK_MS);
}
