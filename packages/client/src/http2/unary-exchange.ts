/** A unary call of the Connect protocol: https://connectrpc.com/docs/protocol#unary-rpcs */
import type { ClientHttp2Stream } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import { Exchange, type ExchangeOptions, type ResponseHeaders } from "./exchange.js";
import { responseTooLarge } from "./messages.js";

/** A complete response. The body is a copy: it keeps no larger buffer in memory. */
export interface UnaryResult {
  readonly headers: ResponseHeaders;
  readonly body: Buffer;
}

export class UnaryExchange extends Exchange {
  private readonly chunks: Buffer[] = [];
  private length = 0;

  constructor(
    options: ExchangeOptions,
    private readonly body: Uint8Array,
    private readonly responseBytesMax: number,
    private readonly resolve: (result: UnaryResult) => void,
    protected readonly reject: (error: ConnectError) => void,
  ) {
    super(options);
  }

  protected sendBody(stream: ClientHttp2Stream): void {
    stream.end(this.body);
  }

  protected onResponse(): void {
    // The status matters once the body is complete: it may hold the error.
  }

  protected onData(chunk: Buffer): void {
    this.length += chunk.length;
    if (this.length > this.responseBytesMax) {
      this.finish(responseTooLarge(this.responseBytesMax));
      return;
    }
    this.chunks.push(chunk);
  }

  protected onEnd(): void {
    const announced = this.response?.["content-length"];
    // Node ends a response in the same way where the server resets it with NO_ERROR.
    if (announced !== undefined && Number(announced) !== this.length) {
      const cause = new Error(`the response ended after ${this.length} of ${announced} bytes`);
      this.finish(new ConnectError(cause.message, Code.Unavailable, undefined, undefined, cause));
      return;
    }
    const body = Buffer.allocUnsafeSlow(this.length);
    let at = 0;
    for (const chunk of this.chunks) at += chunk.copy(body, at);
    this.finish();
    this.resolve({ headers: this.response ?? {}, body });
  }
}
