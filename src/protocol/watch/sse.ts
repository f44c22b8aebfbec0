/**
 * A watch as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html). Each frame is one event, with its revision
 * as the id: a browser that reconnects resumes after it.
 */
import type { Message } from "@bufbuild/protobuf";
import type { WatchRequest } from "../../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { WatchRequest_Start } from "../../../gen/ironflow/kv/v1/key_value_service_pb.js";
import type { Limits } from "../../kv/limits.js";
import type { BoundMethod, MessageStream, ServiceRegistry } from "../../service/calls.js";
import type { Exchange } from "../exchange.js";
import { REQUEST_ID_HEADER } from "../request-id.js";
import type { HttpCall } from "../rest/call.js";
import { badRequest, refusalOf } from "../rest/errors.js";
import type { FaultLog } from "../rest/handler.js";
import type { Endpoint } from "../rest/routes.js";
import { addCommonFields } from "../send.js";
import { durationOf } from "../../service/convert.js";
import { errorFrame, type Frame, framesOf, type WatchFrames } from "./frames.js";

/** Buffered events are flushed at this length. */
const BATCH_CHARS_MAX = 65_536;

export interface EventStreamOptions {
  readonly registry: ServiceRegistry;
  readonly limits: Pick<Limits, "pingIntervalMs">;
  readonly log: FaultLog;
}

/** Serves the watch until either side ends it. Rejects only before it has written anything. */
export async function serveEventStream(
  endpoint: Endpoint,
  call: HttpCall,
  exchange: Exchange,
  options: EventStreamOptions,
): Promise<void> {
  const { method, shape } = endpoint;
  const wantsProgress = shape.frame === undefined && prepareWatch(call.request, exchange, options);
  const events = await options.registry.stream(method, call, call.request);
  const wants = { snapshotEnd: call.options.snapshotEnd === true, progress: wantsProgress };
  const stream = new EventStream(method, events, call, exchange, {
    ...options,
    frames: framesOf(shape, call, wants),
  });
  await stream.run();
}

/** Prepares the watch of a bucket. Returns whether the client wants progress events. */
function prepareWatch(message: Message, exchange: Exchange, { limits }: EventStreamOptions): boolean {
  const request = message as WatchRequest;
  resume(request, exchange.headers["last-event-id"]);
  const wantsProgress = request.progressInterval !== undefined;
  // Without events, the client would resume from an old revision, or from none.
  request.progressInterval ??= durationOf(limits.pingIntervalMs);
  return wantsProgress;
}

/** On reconnect, a browser sends the ID of the last event it saw. It overrides the start in the URL, which is that of the first connection. */
function resume(request: WatchRequest, lastEventId: string | string[] | undefined): void {
  if (lastEventId === undefined || lastEventId === "") return;
  if (typeof lastEventId !== "string" || !/^\d{1,19}$/.test(lastEventId)) {
    throw badRequest(`Last-Event-ID is ${JSON.stringify(lastEventId)}; it must be a revision.`);
  }
  request.start = WatchRequest_Start.UNSPECIFIED;
  request.startRevision = BigInt(lastEventId) + 1n;
}

class EventStream {
  /** Events of one event loop turn, to be written together. */
  private batch = "";
  private isFlushScheduled = false;
  private isBlocked = false;
  private wasBlocked = false;
  private unblock: (() => void) | undefined;
  private isClosed = false;

  constructor(
    private readonly method: BoundMethod,
    private readonly events: MessageStream<Message>,
    private readonly call: HttpCall,
    private readonly exchange: Exchange,
    private readonly options: EventStreamOptions & { readonly frames: WatchFrames },
  ) {}

  async run(): Promise<void> {
    const { exchange } = this;
    const keepAlive = setInterval(() => this.onPing(), this.options.limits.pingIntervalMs);
    try {
      exchange.onAbandoned(() => this.close());
      const headers = {
        "content-type": "text/event-stream",
        "cache-control": "no-store",
        // nginx and other reverse proxies buffer responses without this header.
        "x-accel-buffering": "no",
      };
      exchange.start(200, addCommonFields(exchange, headers));
      // Some clients consider the stream open only after its first byte.
      this.write(":\n\n");
      await this.pump();
    } catch (error) {
      this.writeError(error);
    } finally {
      clearInterval(keepAlive);
      // Close the watch first, in case a later step fails: open watches count against the limits.
      const closed = this.events.return?.();
      this.flush();
      exchange.end();
      await closed;
    }
  }

  private async pump(): Promise<void> {
    const { frames } = this.options;
    while (!this.isClosed) {
      if (this.isBlocked) await new Promise<void>((resolve) => (this.unblock = resolve));
      let event = this.events.poll?.();
      if (event === undefined) {
        const result = await this.events.next();
        if (result.done === true) return;
        event = result.value;
      }
      const frame = frames.frameOf(event);
      if (frame !== undefined) this.writeFrame(frame);
      else this.writePosition(frames.positionOf(event));
    }
  }

  /** An ID without data is no event, but the client resumes after it. */
  private writePosition(revision: bigint | undefined): void {
    if (revision !== undefined) this.write(`id: ${revision}\n\n`);
  }

  private writeFrame(frame: Frame): void {
    const { json, revision } = frame;
    if (json !== undefined) {
      this.write(`id: ${revision}\ndata: ${json}\n\n`);
      return;
    }
    this.flush();
    this.send([`id: ${revision}\ndata: `, frame.bytes, "\n\n"]);
  }

  private write(text: string): void {
    this.batch += text;
    if (this.batch.length >= BATCH_CHARS_MAX) {
      this.flush();
    } else if (!this.isFlushScheduled) {
      this.isFlushScheduled = true;
      setImmediate(() => {
        this.isFlushScheduled = false;
        this.flush();
      });
    }
  }

  private flush(): void {
    if (this.batch === "") return;
    const { batch } = this;
    this.batch = "";
    this.send([batch]);
  }

  private send(chunks: readonly (string | Buffer)[]): void {
    if (this.isClosed) return;
    const bytes = chunks.reduce((sum, chunk) => sum + Buffer.byteLength(chunk), 0);
    this.options.registry.observer?.transferred(this.method, "sse", 0, bytes);
    this.exchange.write(chunks);
    if (!this.exchange.isFull || this.isBlocked) return;
    this.isBlocked = true;
    this.exchange.onDrained(() => this.open());
  }

  private writeError(error: unknown): void {
    if (this.isClosed) return;
    const requestId = this.call.header(REQUEST_ID_HEADER);
    if (refusalOf(error) === undefined) {
      this.options.log.error({ err: error, request_id: requestId }, "An SSE watch failed.");
    }
    this.batch += `data: ${errorFrame(error, requestId).json}\n\n`;
  }

  /** Sends a comment, unless the write buffer is full. If it has been full since the previous ping, the client is dead. */
  private onPing(): void {
    if (this.isBlocked && this.wasBlocked) this.exchange.reset();
    else if (!this.isBlocked) this.write(":\n\n");
    this.wasBlocked = this.isBlocked;
  }

  private open(): void {
    this.isBlocked = false;
    this.wasBlocked = false;
    this.unblock?.();
  }

  private close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.open();
    void this.events.return?.().catch(() => undefined);
  }
}
