/** The connections of HTTP/1.1 whose requests have been plain so far. */
import type { Socket } from "node:net";
import { Lane, type LaneOptions } from "./lane.js";

/** How often idle ones are looked for, at least. */
const LOOK_MS_MAX = 5_000;

export class Lanes {
  private readonly lanes = new Set<Lane>();
  private readonly timer: NodeJS.Timeout;

  constructor(private readonly options: Omit<LaneOptions, "onClosed">) {
    const shortestMs = Math.min(options.idleTimeoutMs, options.headersTimeoutMs);
    this.timer = setInterval(() => this.look(), Math.min(LOOK_MS_MAX, shortestMs / 4));
    this.timer.unref();
  }

  open(socket: Socket): void {
    const onClosed = (lane: Lane): void => void this.lanes.delete(lane);
    this.lanes.add(new Lane(socket, { ...this.options, onClosed }));
  }

  /** Ends those that no request is under way on. */
  endIdle(): void {
    for (const lane of this.lanes) lane.endIdle();
  }

  stop(): void {
    clearInterval(this.timer);
  }

  private look(): void {
    const nowMs = performance.now();
    for (const lane of this.lanes) lane.look(nowMs);
  }
}
