/** A call by REST, WebSocket or SSE, as the service's pipeline and the shapes see it. */
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { IncomingHttpHeaders } from "node:http";
import { HeldMemory } from "../../kv/held-memory.js";
import type { CallInput, Protocol } from "../../service/calls.js";
import { ENVIRONMENT_HEADER } from "../../service/environment.js";
import type { Principal } from "../../service/principal.js";
import type { ClientPresence, RequestHead } from "../exchange.js";
import { clientNameOf, remoteAddressOf } from "../peer.js";

/** Request options that are not fields of the call's message. */
export interface BridgeOptions {
  /** Whether to answer with the value's bytes instead of JSON. */
  raw?: boolean;
  /** Whether to send a frame at the end of the snapshot. */
  snapshotEnd?: boolean;
  /** Whether a watch starts with a snapshot. */
  initial?: boolean;
  /** The environment, in place of its header. */
  environment?: string;
  /** A watch ticket, in place of an API key. */
  ticket?: string;
  /** An API key in the URL of a watch: browsers can't set headers. Never logged. */
  token?: string;
}

/** The request of a call: an exchange or an upgrade. */
export type CallSource = Pick<RequestHead, "headers" | "socket"> & ClientPresence;

export class HttpCall<Input extends DescMessage = DescMessage> implements CallInput {
  readonly timeoutMs = undefined;
  readonly options: BridgeOptions = {};
  /** Whether this fetches a later page of a list that has already been counted as a call. */
  isContinued = false;
  /** The caller, authenticated before the body is read. */
  caller: Principal | undefined;
  /** The size of the request's body. */
  bodyBytes = 0;
  private controller: AbortController | undefined;
  private heldMemory: HeldMemory | undefined;

  constructor(
    readonly protocol: Protocol,
    readonly request: MessageShape<Input>,
    private readonly source: CallSource,
  ) {}

  get headers(): IncomingHttpHeaders {
    return this.source.headers;
  }

  get ticket(): string | undefined {
    return this.options.ticket;
  }

  /** Created on demand: most calls never use it. */
  get signal(): AbortSignal {
    if (this.controller === undefined) {
      const controller = new AbortController();
      this.controller = controller;
      this.source.onAbandoned(() => controller.abort());
    }
    return this.controller.signal;
  }

  /** Created on demand: most calls hold nothing. */
  get held(): HeldMemory {
    this.heldMemory ??= new HeldMemory();
    return this.heldMemory;
  }

  releaseHeld(): void {
    this.heldMemory?.release();
  }

  get connection(): object {
    return this.source.socket;
  }

  get remoteAddress(): string | undefined {
    return remoteAddressOf(this.source.socket);
  }
  get clientName(): string | undefined {
    return clientNameOf(this.source.socket);
  }

  get isCanceled(): boolean {
    return this.source.isClosed;
  }

  header(name: string): string | undefined {
    const value = this.source.headers[name];
    if (value === undefined && name === ENVIRONMENT_HEADER) return this.options.environment;
    if (value === undefined && name === "authorization") {
      const { token } = this.options;
      return offeredKey(this.source.headers) ?? (token === undefined ? undefined : `Bearer ${token}`);
    }
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
