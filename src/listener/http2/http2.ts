/** The HTTP/2 side of the listener. */
import type { Socket } from "node:net";
import { ErrorCode, type Http2Counters, Http2Server } from "@ironflow-kv/http2";
import type { Limits } from "../../kv/limits.js";
import type { RequestHandler } from "../../protocol/exchange.js";
import type { MemoryBudgets } from "../memory-budgets.js";
import { NodeHttp2 } from "./node-http2.js";
import { StreamExchange } from "./stream-exchange.js";

export interface Http2Options {
  readonly limits: Limits;
  readonly handler: RequestHandler;
  readonly budgets: MemoryBudgets;
  /** Called with exceptions that the handler throws. */
  readonly onFault: (error: unknown) => void;
}

export interface Http2 {
  /** What our own server counts; undefined for Node's. */
  readonly counters: Http2Counters | undefined;
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

function createOwn({ limits, handler, budgets, onFault }: Http2Options): Http2 {
  return new Http2Server({
    limits,
    budgets,
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
