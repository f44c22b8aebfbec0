/** The stream of a watch, until it ends or breaks. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  KeyValueService,
  type WatchRequestSchema,
  type WatchResponse,
} from "../../../gen/ironflow/kv/v1/key_value_service_pb.js";
import type { QueuedMessages } from "./queued-messages.js";
import type { RpcClient } from "./rpc-client.js";

/** Closes when the watch's signal aborts, and when the service is silent for too long while the application waits. */
export class WatchConnection {
  isTimedOut = false;
  private readonly controller = new AbortController();
  private messages: QueuedMessages<WatchResponse> | undefined;
  /** When the application began to wait for a message; undefined while it handles one, which does not count as silence. */
  private waitingSinceMs: number | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly signal: AbortSignal,
    private readonly idleTimeoutMs: number,
  ) {
    signal.addEventListener("abort", this.close);
  }

  async open(rpc: RpcClient, request: MessageInitShape<typeof WatchRequestSchema>): Promise<void> {
    this.startWaiting();
    const stream = await rpc.stream(KeyValueService.method.watch, request, this.controller.signal);
    this.messages = stream[Symbol.asyncIterator]();
  }

  /** The next message if it has arrived. */
  takeArrived(): WatchResponse | undefined {
    return this.messages?.takeArrived?.();
  }

  /** The next message; undefined at the end. */
  async next(): Promise<WatchResponse | undefined> {
    this.startWaiting();
    const result = await this.messages?.next();
    this.waitingSinceMs = undefined;
    return result?.done === false ? result.value : undefined;
  }

  readonly close = (): void => {
    clearTimeout(this.timer);
    this.signal.removeEventListener("abort", this.close);
    this.controller.abort();
  };

  /** One timer serves many messages: setting one for each would cost as much as decoding it. */
  private startWaiting(): void {
    this.waitingSinceMs = performance.now();
    this.timer ??= setTimeout(this.checkIdle, this.idleTimeoutMs);
  }

  private readonly checkIdle = (): void => {
    this.timer = undefined;
    if (this.waitingSinceMs === undefined) return;
    const remainingMs = this.waitingSinceMs + this.idleTimeoutMs - performance.now();
    if (remainingMs > 0) {
      this.timer = setTimeout(this.checkIdle, remainingMs);
      return;
    }
    this.isTimedOut = true;
    this.close();
  };
}
