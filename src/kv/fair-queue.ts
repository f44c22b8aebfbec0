/** A fair queue: serves the flows in turn (round robin), each in its own order. However much one flow queues, the next one waits for one item of it. */
export class FairQueue<Item> {
  /** By flow, the next one to be served first. */
  private readonly flows = new Map<unknown, Item[]>();
  private items = 0;

  get length(): number {
    return this.items;
  }

  /** `flow`: whose item it is, such as a caller. */
  push(flow: unknown, item: Item): void {
    const queued = this.flows.get(flow);
    if (queued === undefined) this.flows.set(flow, [item]);
    else queued.push(item);
    this.items++;
  }

  /** The item that `shift` returns next. */
  peek(): Item | undefined {
    for (const queued of this.flows.values()) return queued[0];
    return undefined;
  }

  shift(): Item | undefined {
    for (const [flow, queued] of this.flows) {
      this.flows.delete(flow);
      const item = queued.shift();
      if (queued.length > 0) this.flows.set(flow, queued);
      this.items--;
      return item;
    }
    return undefined;
  }
}
