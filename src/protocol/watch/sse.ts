/**
 * A watch as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html): each frame is one event with its revision
 * as the id, so that a browser that connects again goes on where it was.
 */
import type { WatchRequest, WatchResponse } from "../../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { WatchRequest_Start } from "../../../gen/ironflow/kv/v1/key_value_service_pb.js";
import type { Limits } from "../../kv/limits.js";
import type { BoundMethod, ServiceRegistry } from "../../service/calls.js";
import { REQUEST_ID_HEADER } from "../request-id.js";
import type { Request, Response } from "../rest/body.js";
import type { HttpCall } from "../rest/call.js";
import { badRequest, refusalOf } from "../rest/errors.js";
import type { FaultLog } from "../rest/handler.js";
import type { Endpoint } from "../rest/routes.js";
import { writeHead } from "../rest/send.js";
import { bucketOfWatch, errorFrame, frameOf } from "./frames.js";

/** Text that waits to be written together is at most this long. */
const BATCH_CHARS_MAX = 65_536;

/** What a stream needs beside its call. */
export interface EventStreamOptions {
  readonly registry: ServiceRegistry;
  readonly limits: Pick<Limits, "pingIntervalMs">;
  readonly log: FaultLog;
}

/** Serves the watch until either side ends it. Rejects only before anything is written. */
export async function serveEventStream(
  endpoint: Endpoint,
  call: HttpCall,
  request: Request,
  response: Response,
  options: EventStreamOptions,
): Promise<void> {
  resume(call.request as WatchRequest, request.headers["last-event-id"]);
  const events = (await options.registry.stream(
    endpoint.method,
    call,
    call.request,
  )) as AsyncIterableIterator<WatchResponse>;
  const stream = new EventStream(endpoint.method, events, call, response, options);
  await stream.run();
}

/** A browser that connects again says which event it saw last; its URL still says where the first time began. */
function resume(request: WatchRequest, lastEventId: string | string[] | undefined): void {
  if (lastEventId === undefined || lastEventId === "") return;
  if (typeof lastEventId !== "string" || !/^\d{1,19}$/.test(lastEventId)) {
    throw badRequest(`Last-Event-ID is ${JSON.stringify(lastEventId)}; it takes a revision.`);
  }
  request.start = WatchRequest_Start.UNSPECIFIED;
  request.startRevision = BigInt(lastEventId) + 1n;
}

class EventStream {
  /** Events that are at hand at once are written at once. */
  private batch = "";
  private isFlushScheduled = false;
  private isBlocked = false;
  private wasBlocked = false;
  private unblock: (() => void) | undefined;
  private isClosed = false;

  constructor(
    private readonly method: BoundMethod,
    private readonly events: AsyncIterableIterator<WatchResponse>,
    private readonly call: HttpCall,
    private readonly response: Response,
    private readonly options: EventStreamOptions,
  ) {}

  async run(): Promise<void> {
    const { response } = this;
    const keepAlive = setInterval(() => this.onPing(), this.options.limits.pingIntervalMs);
    try {
      response.on("close", () => this.close());
      response.on("error", () => this.close());
      response.on("drain", () => this.open());
      if (isGone(response)) this.close();
      writeHead(response, 200, {
        "content-type": "text/event-stream",
        "cache-control": "no-store",
        // Some reverse proxies hold an answer back until it is complete, unless told.
        "x-accel-buffering": "no",
      });
      // A first byte: until there is one, some clients do not take the stream for open.
      this.write(":\n\n");
      await this.pump();
    } catch (error) {
      this.writeError(error);
    } finally {
      clearInterval(keepAlive);
      // First of all, whatever else may fail: an open watch counts against its limits.
      const closed = this.events.return?.();
      this.flush();
      response.end();
      await closed;
    }
  }

  private async pump(): Promise<void> {
    const bucket = bucketOfWatch(this.call);
    const wantsSnapshotEnd = this.call.options.snapshotEnd === true;
    while (!this.isClosed) {
      if (this.isBlocked) await new Promise<void>((resolve) => (this.unblock = resolve));
      const result = await this.events.next();
      if (result.done === true) return;
      const frame = frameOf(result.value, bucket, wantsSnapshotEnd);
      if (frame !== undefined) this.write(`id: ${frame.revision}\ndata: ${frame.json}\n\n`);
    }
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
    if (this.batch === "" || this.isClosed) return;
    const { batch } = this;
    this.batch = "";
    const { registry } = this.options;
    registry.observer?.transferred(this.method, "sse", 0, Buffer.byteLength(batch));
    if (!writeText(this.response, batch)) this.isBlocked = true;
  }

  private writeError(error: unknown): void {
    if (this.isClosed) return;
    const requestId = this.call.header(REQUEST_ID_HEADER);
    if (refusalOf(error) === undefined) {
      this.options.log.error({ err: error, request_id: requestId }, "A watch by SSE failed.");
    }
    this.batch += `data: ${errorFrame(error, requestId).json}\n\n`;
  }

  /** A comment when there is room for one; a client that took nothing since the one before is gone. */
  private onPing(): void {
    if (this.isBlocked && this.wasBlocked) this.response.destroy();
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

/** The two kinds of response declare this method separately, so that a union of them can't be called. */
function writeText(response: Response, text: string): boolean {
  return "stream" in response ? response.write(text) : response.write(text);
}

/** Whether the client left while the watch was being started: its `close` will not come again. */
function isGone(response: Response): boolean {
  return "stream" in response ? response.stream.destroyed : response.destroyed;
}
