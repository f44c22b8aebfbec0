/** A watch over an open WebSocket: sends frames at the client's pace, pings the client, and closes watch and socket together. */
import type { Message } from "@bufbuild/protobuf";
import type { Duplex } from "node:stream";
import type { WebSocket } from "ws";
import type { Limits } from "../../kv/limits.js";
import type { BoundMethod, ServiceRegistry } from "../../service/calls.js";
import { PingMonitor } from "@ironflow-kv/http2";
import { REQUEST_ID_HEADER } from "../request-id.js";
import type { HttpCall } from "../rest/call.js";
import { refusalOf } from "../rest/errors.js";
import type { FaultLog } from "../rest/handler.js";
import { errorFrame, type WatchFrames } from "./frames.js";

/** Close codes by the error's code (RFC 6455 section 7.4.1; 1013, "try again later", is in its IANA registry). */
const CLOSE_CODES: Readonly<Record<string, number>> = {
  shutting_down: 1001,
  unavailable: 1013,
  slow_watcher: 1013,
  too_many_watches: 1013,
  internal: 1011,
};
/** For errors that a retry does not fix, such as a deleted bucket. */
const POLICY_CLOSE_CODE = 1008;

export class WatchSocket {
  private isClosed = false;
  private readonly pings: PingMonitor;
  private isCorked = false;
  private clientFrames = 0;
  private unblock: (() => void) | undefined;
  private pingTimer: NodeJS.Timeout | undefined;

  constructor(
    private readonly webSocket: WebSocket,
    /** The underlying connection: its write buffer shows whether the client keeps up. */
    private readonly connection: Duplex,
    private readonly method: BoundMethod,
    private readonly events: AsyncIterableIterator<Message>,
    private readonly frames: WatchFrames,
    private readonly call: HttpCall,
    private readonly options: {
      readonly registry: Pick<ServiceRegistry, "observer">;
      readonly limits: Pick<Limits, "pingIntervalMs" | "webSocketMessagesMax">;
      readonly log: FaultLog;
      /** Called after each write to the connection. */
      readonly onWritten: () => void;
    },
  ) {
    this.pings = new PingMonitor(options.limits.pingIntervalMs);
  }

  start(): void {
    const { webSocket } = this;
    webSocket.on("close", () => this.close());
    // An invalid or oversized frame; `close` follows.
    webSocket.on("error", () => this.close());
    webSocket.on("pong", () => this.pings.answered());
    webSocket.on("ping", () => this.onClientFrame());
    webSocket.on("message", () => this.onClientFrame());
    this.connection.on("drain", () => this.unblock?.());
    this.pingTimer = setInterval(() => this.onPing(), this.options.limits.pingIntervalMs);
    void this.run();
  }

  private async run(): Promise<void> {
    try {
      await this.pump();
      this.webSocket.close(1000);
    } catch (error) {
      this.sendError(error);
    } finally {
      await this.events.return?.().catch(() => undefined);
    }
  }

  /** Pulls the next event only when the client has room for it. A slow client's backlog stays in the watch's bounded queue. */
  private async pump(): Promise<void> {
    while (!this.isClosed) {
      if (this.connection.writableNeedDrain) {
        await new Promise<void>((resolve) => (this.unblock = resolve));
        this.unblock = undefined;
        continue;
      }
      const result = await this.events.next();
      if (result.done === true) return;
      const frame = this.frames.frameOf(result.value);
      if (frame !== undefined) this.send(frame.bytes);
    }
  }

  /** Corks the connection: events of one event loop turn are sent in one write. */
  private send(bytes: Buffer): void {
    if (!this.isCorked) {
      this.isCorked = true;
      this.connection.cork();
      setImmediate(() => {
        this.isCorked = false;
        this.connection.uncork();
        this.options.onWritten();
      });
    }
    this.webSocket.send(bytes, { binary: false });
    this.options.registry.observer?.transferred(this.method, "websocket", 0, bytes.length);
  }

  private sendError(error: unknown): void {
    if (this.isClosed) return;
    const requestId = this.call.header(REQUEST_ID_HEADER);
    if (refusalOf(error) === undefined) {
      this.options.log.error({ err: error, request_id: requestId }, "A WebSocket watch failed.");
    }
    const { json, code } = errorFrame(error, requestId);
    this.webSocket.send(json);
    this.webSocket.close(CLOSE_CODES[code] ?? POLICY_CLOSE_CODE, code);
  }

  private onPing(): void {
    const verdict = this.pings.next();
    if (verdict === "gone") this.webSocket.terminate();
    if (verdict !== "ping") return;
    this.clientFrames = 0;
    this.webSocket.ping();
  }

  private onClientFrame(): void {
    this.clientFrames++;
    if (this.clientFrames !== this.options.limits.webSocketMessagesMax + 1) return;
    this.webSocket.close(POLICY_CLOSE_CODE, "too many messages");
    this.close();
  }

  private close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    clearInterval(this.pingTimer);
    this.unblock?.();
    void this.events.return?.().catch(() => undefined);
  }
}
