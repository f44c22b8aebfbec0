/** GET /healthz and /readyz, for probes. Neither needs an API key, and neither reveals details. */
import type { Health } from "../service/health.js";
import type { Exchange } from "./exchange.js";
import { send } from "./send.js";

/** Answers a probe. /healthz: the process is alive. /readyz: it accepts calls, and its storage responds. */
export async function answerHealth(
  path: "/healthz" | "/readyz",
  exchange: Exchange,
  health: Health,
): Promise<void> {
  if (path === "/healthz") {
    answer(exchange, 200, "ok");
  } else if (await health.isServing()) {
    answer(exchange, 200, "ready");
  } else {
    answer(exchange, 503, whyNotServing(health));
  }
}

function whyNotServing(health: Health): string {
  if (health.isStopping) return "stopping";
  return health.hasStorageFailed() ? "storage failed: waiting for its disk" : "storage unavailable";
}

function answer(exchange: Exchange, status: number, word: string): void {
  const headers = { "content-type": "text/plain; charset=utf-8", "cache-control": "no-store" };
  send(exchange, { status, headers, body: `${word}\n` });
}
