/** A request that Node's HTTP/1.1 server parsed. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { ByteAccount } from "@ironflow-kv/http2";
import type { BodyReader, Chunk, Exchange, Fields } from "../../protocol/exchange.js";
import { Abandonment } from "../abandonment.js";
import type { MemoryBudgets } from "../memory-budgets.js";
import { missingLength } from "../response-framing.js";
import { headBytesOf } from "./head-bytes.js";
import { NodeRequest } from "./node-request.js";

export class NodeHttp1Exchange extends NodeRequest implements Exchange {
  readonly commonFields: Fields = {};
  private reader: BodyReader | undefined;
  private isPaced = false;
  private readonly abandonment = new Abandonment();
  /** The bytes of the request until the response. */
  private readonly held: ByteAccount | undefined;

  /** `expectsContinue`: the client waits for `100 Continue`, which Node has not sent. `budgets`: default: nothing is counted. */
  constructor(
    request: IncomingMessage,
    private readonly response: ServerResponse,
    readonly expectsContinue = false,
    private readonly budgets?: MemoryBudgets,
  ) {
    super(request);
    this.held = budgets?.incompleteRequests.open(() => this.release());
    response.on("close", () => {
      this.held?.close();
      if (!response.writableFinished) this.abandonment.happen();
    });
    // The client disconnected; `close` follows.
    response.on("error", () => undefined);
    if (this.hasBody) response.once("finish", () => this.discardRest());
  }

  /** Counts the head of the request. Returns false if too many bytes are held: it is refused then. */
  admit(): boolean {
    this.held?.add(headBytesOf(this.request));
    if (this.budgets?.incompleteRequests.isExceeded === true) this.refuse();
    return !this.hasResponded && !this.isClosed;
  }

  get httpVersion(): "1.0" | "1.1" {
    return this.request.httpVersionMinor === 0 ? "1.0" : "1.1";
  }
  get socket(): Duplex {
    return this.request.socket;
  }
  get hasBody(): boolean {
    const { "content-length": length, "transfer-encoding": coding } = this.request.headers;
    return coding !== undefined || (length !== undefined && length !== "0");
  }
  get hasResponded(): boolean {
    return this.response.headersSent;
  }
  get isClosed(): boolean {
    return this.response.destroyed || this.request.socket.destroyed;
  }
  get isFull(): boolean {
    return this.response.writableNeedDrain;
  }

  onAbandoned(listener: () => void): void {
    this.abandonment.listen(listener);
  }

  sendContinue(): void {
    this.response.writeContinue();
  }

  read(reader: BodyReader, isPaced = false): void {
    const { request } = this;
    this.reader = reader;
    this.isPaced = isPaced;
    request.on("data", (chunk: Buffer) => this.receive(chunk));
    request.on("end", () => this.reader?.received());
    // The client disconnected before the end of the body; the response's `close` reports it.
    request.on("error", () => undefined);
  }

  resumeBody(): void {
    this.request.resume();
  }

  releaseBody(): void {
    this.held?.set(0);
  }

  respond(status: number, fields: Readonly<Fields>, body?: Chunk): void {
    const { response } = this;
    if (this.isClosed || this.hasResponded) return;
    const length = missingLength(status, fields, body);
    response.writeHead(status, length === undefined ? fields : { ...fields, "content-length": length });
    if (body === undefined || this.method === "HEAD") response.end();
    else response.end(body);
    this.written();
  }

  start(status: number, fields: Readonly<Fields>): void {
    if (this.isClosed || this.hasResponded) return;
    this.response.writeHead(status, fields);
    this.response.flushHeaders();
    this.written();
  }

  write(chunks: readonly Chunk[]): void {
    const { response } = this;
    if (this.isClosed) return;
    if (chunks.length > 1) response.cork();
    for (const chunk of chunks) response.write(chunk);
    if (chunks.length > 1) response.uncork();
    this.written();
  }

  end(chunk?: Chunk): void {
    if (this.isClosed) return;
    this.response.end(chunk);
    this.written();
  }

  reset(): void {
    this.response.destroy();
  }

  onDrained(listener: () => void): void {
    this.response.once("drain", listener);
  }

  private receive(chunk: Buffer): void {
    if (this.isPaced) this.request.pause();
    if (this.reader !== undefined) this.held?.add(chunk.length);
    this.reader?.receive(chunk);
  }

  /** The response has begun, or has more to send. */
  private written(): void {
    this.releaseBody();
    this.budgets?.countUnsent(this.socket);
  }

  /** Too many bytes are held: refuses this request, unless it is complete and so may have begun. */
  private release(): void {
    if (!this.request.complete) this.refuse();
  }

  private refuse(): void {
    const { request, response } = this;
    this.releaseBody();
    this.reader = undefined;
    if (response.headersSent) request.socket.destroy();
    else response.writeHead(503, { "retry-after": "1", connection: "close", "content-length": "0" }).end();
    this.abandonment.happen();
  }

  /**
   * Discards the rest of the body after the response: unread, it would block the next request on the connection. Not by closing, since the
   * client may send its whole request before it reads the response.
   */
  private discardRest(): void {
    this.reader = undefined;
    this.isPaced = false;
    if (!this.request.complete) this.request.resume();
  }
}
