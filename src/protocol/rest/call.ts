/** A call by REST, WebSocket or SSE, as the service's pipeline and the shapes see it. */
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { IncomingHttpHeaders } from "node:http";
import type { CallInput, Door } from "../../service/calls.js";
import { connectionOf } from "../node-stream.js";
import { clientNameOf, remoteAddressOf } from "../peer.js";
import type { Request } from "./body.js";

/** Request options that are not fields of the call's message. */
export interface BridgeOptions {
  /** Whether to answer with the value's bytes instead of JSON. */
  raw?: boolean;
  /** Whether to send a frame at the end of the snapshot. */
  snapshotEnd?: boolean;
  /** Whether a watch starts with a snapshot. */
  initial?: boolean;
  /** A watch ticket, in place of an API key. */
  ticket?: string;
}

/** Emits `close` when the client disconnects. */
export interface Closing {
  once(event: "close", listener: () => void): unknown;
}

export class HttpCall<Input extends DescMessage = DescMessage> implements CallInput {
  readonly timeoutMs = undefined;
  readonly options: BridgeOptions = {};
  /** Whether this fetches a later page of a list that has already been counted as a call. */
  isContinued = false;
  /** The size of the request's body. */
  bodyBytes = 0;
  private controller: AbortController | undefined;

  constructor(
    readonly door: Door,
    readonly request: MessageShape<Input>,
    private readonly incoming: Request,
    private readonly closing: Closing,
  ) {}

  get headers(): IncomingHttpHeaders {
    return this.incoming.headers;
  }

  get ticket(): string | undefined {
    return this.options.ticket;
  }

  /** Created on demand: most calls never use it. */
  get signal(): AbortSignal {
    if (this.controller === undefined) {
      const controller = new AbortController();
      this.controller = controller;
      this.closing.once("close", () => controller.abort());
      if (this.isCanceled) controller.abort();
    }
    return this.controller.signal;
  }

  get connection(): object {
    return "stream" in this.incoming ? connectionOf(this.incoming) : this.incoming.socket;
  }

  get remoteAddress(): string | undefined {
    return remoteAddressOf(this.connection);
  }
  get clientName(): string | undefined {
    return clientNameOf(this.connection);
  }

  get isCanceled(): boolean {
    return "stream" in this.incoming ? this.incoming.stream.destroyed : this.incoming.socket.destroyed;
  }

  header(name: string): string | undefined {
    const value = this.incoming.headers[name];
    if (value === undefined && name === "authorization") return offeredKey(this.incoming.headers);
    return Array.isArray(value) ? value.join(", ") : value;
  }
}

const KEY_PROTOCOL = /(?:^|,)\s*bearer\.([A-Za-z0-9_-]+)\s*(?:,|$)/;

/**
 * The API key that a browser sends as a WebSocket sub-protocol (RFC 6455 section 1.9), in base64url. Browsers can't set headers on WebSockets,
 * and a key in the URL would appear in logs.
 */
function offeredKey(headers: IncomingHttpHeaders): string | undefined {
  const offered = KEY_PROTOCOL.exec(headers["sec-websocket-protocol"] ?? "")?.[1];
  return offered === undefined ? undefined : `Bearer ${Buffer.from(offered, "base64url").toString()}`;
}
