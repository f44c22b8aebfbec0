/** An exchange in the form of the Connect library's handlers. */
import { Code, ConnectError } from "@connectrpc/connect";
import type { UniversalServerRequest, UniversalServerResponse } from "@connectrpc/connect/protocol";
import type { IncomingHttpHeaders } from "node:http";
import { TLSSocket } from "node:tls";
import type { BodyReader, Exchange, Fields } from "./exchange.js";
import { Pieces } from "./pieces.js";
import { addFields } from "./rpc/fields.js";
import { correctGrpcMessage } from "./rpc/grpc-message.js";

/** Throws a TypeError if the target is not a path, or a header is not Latin-1. */
export function universalRequestOf(
  exchange: Exchange,
): Omit<UniversalServerRequest, "body" | "contextValues"> & { readonly body: AsyncIterable<Uint8Array> } {
  const { httpVersion, method, target, headers, authority, socket } = exchange;
  const origin = `${socket instanceof TLSSocket ? "https" : "http"}://${authority ?? ""}`;
  const controller = new AbortController();
  const request = {
    httpVersion,
    method,
    url: new URL(target, origin).toString(),
    header: webHeadersOf(headers),
    body: new PacedBody(exchange),
    signal: controller.signal,
  };
  exchange.onAbandoned(() => controller.abort(clientLeft()));
  return request;
}

/** Sends the head of a stream of responses that has no response yet: it tells the client that the stream is established. */
export function startUniversal(exchange: Exchange, header: Headers): void {
  exchange.start(200, headOf(exchange, header));
}

/** Sends a response at the client's pace. Rejects if the body fails or a field is invalid. */
export async function sendUniversal(exchange: Exchange, response: UniversalServerResponse): Promise<void> {
  const { status, body, trailer } = response;
  if (body === undefined) {
    exchange.respond(status, headOf(exchange, response.header), undefined, fieldsOf(trailer));
    return;
  }
  const chunks = body[Symbol.asyncIterator]();
  try {
    // The library sets headers until the first chunk.
    let chunk = await chunks.next();
    if (!exchange.hasResponded) exchange.start(status, headOf(exchange, response.header));
    for (; chunk.done !== true && !exchange.isClosed; chunk = await chunks.next()) {
      exchange.write([chunk.value]);
      if (exchange.isFull) await drained(exchange);
    }
    exchange.end(undefined, fieldsOf(trailer));
  } finally {
    void chunks.return?.().catch(() => undefined);
  }
}

function headOf(exchange: Exchange, header: Headers | undefined): Fields {
  const fields = { ...exchange.commonFields };
  addFields(fields, header);
  return fields;
}

function fieldsOf(headers: Headers | undefined): Fields | undefined {
  if (headers === undefined) return undefined;
  const fields: Fields = {};
  addFields(fields, correctGrpcMessage(headers));
  return fields;
}

function drained(exchange: Exchange): Promise<void> {
  return new Promise((resolve) => {
    exchange.onDrained(resolve);
    exchange.onAbandoned(resolve);
  });
}

function webHeadersOf(headers: IncomingHttpHeaders): Headers {
  const web = new Headers();
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || name.startsWith(":")) continue;
    for (const one of Array.isArray(value) ? value : [value]) web.append(name, one);
  }
  return web;
}

function clientLeft(): ConnectError {
  return new ConnectError("The client ended the call.", Code.Canceled);
}

/** A request body that is read at its consumer's pace. */
class PacedBody implements AsyncIterableIterator<Uint8Array>, BodyReader {
  private readonly arrived = new Pieces();
  private isReading = false;
  private isComplete = false;
  private failure: Error | undefined;
  private wake: (() => void) | undefined;

  constructor(private readonly exchange: Exchange) {}

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    if (!this.isReading) this.start();
    while (this.arrived.bytes === 0 && !this.isComplete) {
      if (this.failure !== undefined) throw this.failure;
      const arrival = new Promise<void>((resolve) => (this.wake = resolve));
      this.exchange.resumeBody();
      await arrival;
    }
    if (this.arrived.bytes === 0) return { done: true, value: undefined };
    return { done: false, value: this.arrived.takeAll() };
  }

  receive(chunk: Buffer): void {
    this.arrived.add(chunk);
    this.wake?.();
  }

  received(): void {
    this.isComplete = true;
    this.wake?.();
  }

  failed(error: ConnectError): void {
    this.failure = error;
    this.wake?.();
  }

  private start(): void {
    this.isReading = true;
    if (this.exchange.expectsContinue) this.exchange.sendContinue();
    this.exchange.read(this, true);
    this.exchange.onAbandoned(() => this.failed(clientLeft()));
  }
}
