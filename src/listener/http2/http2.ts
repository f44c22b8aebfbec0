/** The HTTP/2 side of the listener. */
import type { Socket } from "node:net";
import { ErrorCode, Http2Server } from "@ironflow-kv/http2";
import type { Limits } from "../../kv/limits.js";
import type { RequestHandler } from "../../protocol/exchange.js";
import { NodeHttp2 } from "./node-http2.js";
import { StreamExchange } from "./stream-exchange.js";

export interface Http2Options {
  readonly limits: Limits;
  readonly handler: RequestHandler;
  /** Called with exceptions that the handler throws. */
  readonly onFault: (error: unknown) => void;
}

export interface Http2 {
  /** Serves a connection, whose read bytes are back in its buffer. */
  accept(socket: Socket): void;
  /** Closes all connections, and those accepted later, once their calls are done. */
  closeGracefully(): void;
  /** Stops the timers. */
  stop(): void;
}

/** Which HTTP/2 server: our own, or Node's. */
export type Http2Stack = "own" | "node";

export function createHttp2(stack: Http2Stack, options: Http2Options): Http2 {
  return stack === "node" ? new NodeHttp2(options) : createOwn(options);
}

function createOwn({ limits, handler, onFault }: Http2Options): Http2 {
  return new Http2Server({
    limits,
    onStream(stream) {
      try {
        handler.handle(new StreamExchange(stream));
      } catch (error) {
        onFault(error);
        stream.reset(ErrorCode.internalError);
      }
    },
    onFault,
  });
}
