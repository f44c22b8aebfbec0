/** A call that came in as HTTP: what the service's pipeline asks of it, and what the bridge's shapes do. */
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { IncomingHttpHeaders } from "node:http";
import type { CallInput, Door } from "../../service/calls.js";
import { connectionOf } from "../node-stream.js";
import { clientNameOf, remoteAddressOf } from "../peer.js";
import type { Request } from "./body.js";

/** What a request asks of the bridge itself, beside the call's own fields. */
export interface BridgeOptions {
  /** Answer with the value's bytes. */
  raw?: boolean;
  /** Send a frame where the snapshot ends. */
  snapshotEnd?: boolean;
  /** Whether a watch begins with a snapshot, where the request says so. */
  initial?: boolean;
  /** The ticket that a watch brings in place of a key. */
  ticket?: string;
}

/** What tells of the client's going away. */
export interface Closing {
  once(event: "close", listener: () => void): unknown;
}

/** One call by REST, WebSocket or SSE. */
export class HttpCall<Input extends DescMessage = DescMessage> implements CallInput {
  readonly timeoutMs = undefined;
  readonly options: BridgeOptions = {};
  /** Whether this is a later page of a list that was counted as a call already. */
  isContinued = false;
  /** How long the request's body was. */
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

  /** Made on demand: most calls end without anyone asking for it. */
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
 * The key that a browser offers among the sub-protocols of a WebSocket (RFC 6455 section 1.9), in base64url: it can't set headers there, and
 * a key in the URL would end up in logs.
 */
function offeredKey(headers: IncomingHttpHeaders): string | undefined {
  const offered = KEY_PROTOCOL.exec(headers["sec-websocket-protocol"] ?? "")?.[1];
  return offered === undefined ? undefined : `Bearer ${Buffer.from(offered, "base64url").toString()}`;
}
