/** GET /metrics, for Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats/). */
import { KvError } from "../kv/errors.js";
import type { AccessControl } from "../service/principal.js";
import { toConnectError } from "../service/errors.js";
import type { Exchange } from "./exchange.js";
import { Refusal, refusalOf, sendRefusal } from "./rest/errors.js";
import type { FaultLog } from "./rest/handler.js";
import { send } from "./send.js";

export interface MetricsOptions {
  /** The metrics in version 0.0.4 of the text format. */
  readonly metricsText: () => Promise<string>;
  /** Restricts access to API keys with admin on all buckets. Undefined: no restriction. */
  readonly access: Pick<AccessControl, "callerOf"> | undefined;
  readonly log: FaultLog;
}

/** Never rejects. */
export async function answerMetrics(exchange: Exchange, options: MetricsOptions): Promise<void> {
  const { method, headers } = exchange;
  try {
    checkAccess(exchange, options.access);
    if (method !== "GET" && method !== "HEAD") {
      throw new Refusal(
        405,
        "method_not_allowed",
        `${method} is not allowed at /metrics; it allows GET and HEAD.`,
        { allow: "GET, HEAD" },
      );
    }
    send(exchange, {
      status: 200,
      headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8", "cache-control": "no-store" },
      body: await options.metricsText(),
    });
  } catch (error) {
    const refusal =
      refusalOf(error) ??
      refusalOf(
        toConnectError(error, headers["x-request-id"]?.toString(), (fault) =>
          options.log.error({ err: fault }, "failed to collect the metrics"),
        ),
      );
    if (refusal !== undefined) sendRefusal(exchange, refusal);
  }
}

function checkAccess({ headers }: Exchange, access: MetricsOptions["access"]): void {
  const caller = access?.callerOf({ header: (name) => headers[name]?.toString() });
  if (caller === undefined || caller.may("admin", "*")) return;
  throw new KvError(
    "permission_denied",
    "This API key may not read the metrics; that requires the scope admin on *.",
  );
}
