/**
 * A stream as lines of JSON (https://github.com/ndjson/ndjson-spec), sent at the client's pace. After the first line, an error is the last
 * line, with the members `error` and `code`.
 */
import type { Message } from "@bufbuild/protobuf";
import type { MessageStream, ServiceRegistry } from "../../service/calls.js";
import type { Exchange } from "../exchange.js";
import { LargeValues } from "../large-values.js";
import { REQUEST_ID_HEADER } from "../request-id.js";
import { addCommonFields } from "../send.js";
import type { HttpCall } from "./call.js";
import { opaqueRefusal, refusalOf } from "./errors.js";
import type { FaultLog } from "./handler.js";
import type { Endpoint } from "./routes.js";

export const JSON_LINES = "application/x-ndjson";

/** Sends the response. Rejects only before it has written anything. */
export async function answerLines(
  { method, shape }: Pick<Endpoint, "method" | "shape">,
  call: HttpCall,
  exchange: Exchange,
  { registry, log }: { readonly registry: ServiceRegistry; readonly log: FaultLog },
): Promise<void> {
  const messages = (await registry.stream(method, call, call.request)) as MessageStream<Message>;
  let wake: (() => void) | undefined;
  exchange.onAbandoned(() => {
    wake?.();
    void messages.return?.().catch(() => undefined);
  });
  let hasStarted = false as boolean;
  const write = (chunk: string | Buffer): void => {
    if (exchange.isClosed) return;
    if (!hasStarted)
      exchange.start(
        200,
        addCommonFields(exchange, { "content-type": JSON_LINES, "cache-control": "no-cache" }),
      );
    hasStarted = true;
    registry.observer?.transferred(method, "rest", 0, Buffer.byteLength(chunk));
    exchange.write([chunk]);
  };
  try {
    for (let result = await messages.next(); result.done !== true; result = await messages.next()) {
      if (exchange.isClosed) return;
      const large = new LargeValues();
      const text = shape.lines?.(result.value, call, large) ?? "";
      write(large.isNeeded ? large.encode(text) : text);
      if (!exchange.isFull) continue;
      await new Promise<void>((resolve) => {
        wake = resolve;
        exchange.onDrained(resolve);
      });
    }
  } catch (error) {
    if (!hasStarted) throw error;
    const requestId = call.header(REQUEST_ID_HEADER);
    const refusal = refusalOf(error);
    if (refusal === undefined) log.error({ err: error, request_id: requestId }, "A REST stream failed.");
    const { body } = refusal ?? opaqueRefusal(requestId);
    write(`${body}\n`);
  } finally {
    await messages.return?.();
  }
  if (!exchange.isClosed) exchange.end();
}
