/** A call that came in as HTTP: what the service's pipeline asks of it, and what the bridge's shapes do. */
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { IncomingHttpHeaders } from "node:http";
import type { CallInput, Door } from "../../service/calls.js";
import type { Request } from "./body.js";

/** What a request asks of the bridge itself, beside the call's own fields. */
export interface BridgeOptions {
  /** Answer with the value's bytes. */
  raw?: boolean;
  /** Send a frame where the snapshot ends. */
  snapshotEnd?: boolean;
  /** Whether a watch begins with a snapshot, where the request says so. */
  initial?: boolean;
  /** The API key of a browser's watch, which can't send headers. */
  accessToken?: string;
}

/** What tells of the client's going away. */
export interface Closing {
  once(event: "close", listener: () => void): unknown;
}

/** One call by REST, WebSocket or SSE. */
export class HttpCall<Input extends DescMessage = DescMessage> implements CallInput {
  readonly timeoutMs = undefined;
  readonly options: BridgeOptions = {};
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

  /** Made on demand: most calls end without anyone asking for it. */
  get signal(): AbortSignal {
    if (this.controller === undefined) {
      const controller = new AbortController();
      this.controller = controller;
      this.closing.once("close", () => controller.abort());
      if (this.isGone()) controller.abort();
    }
    return this.controller.signal;
  }

  get connection(): object {
    return "stream" in this.incoming
      ? (this.incoming.stream.session ?? this.incoming.stream)
      : this.incoming.socket;
  }

  private isGone(): boolean {
    return "stream" in this.incoming ? this.incoming.stream.destroyed : this.incoming.socket.destroyed;
  }

  header(name: string): string | undefined {
    const value = this.incoming.headers[name];
    if (value === undefined && name === "authorization" && this.options.accessToken !== undefined) {
      return `Bearer ${this.options.accessToken}`;
    }
    return Array.isArray(value) ? value.join(", ") : value;
  }
}
