/** GET /healthz and /readyz, for probes. Neither needs an API key, and neither reveals details. */
import type { ServerResponse } from "node:http";
import type { Http2ServerResponse } from "node:http2";
import type { Health } from "../service/health.js";

/** Answers a probe. /healthz: the process is alive. /readyz: it accepts calls, and its storage responds. */
export async function answerHealth(
  path: "/healthz" | "/readyz",
  response: ServerResponse | Http2ServerResponse,
  health: Health,
): Promise<void> {
  if (path === "/healthz") {
    answer(response, 200, "ok");
  } else if (await health.isServing()) {
    answer(response, 200, "ready");
  } else {
    answer(response, 503, whyNotServing(health));
  }
}

function whyNotServing(health: Health): string {
  if (health.isStopping) return "stopping";
  return health.hasStorageFailed() ? "storage failed: waiting for its disk" : "storage unavailable";
}

function answer(response: ServerResponse | Http2ServerResponse, status: number, word: string): void {
  response.statusCode = status;
  response.setHeader("content-type", "text/plain; charset=utf-8");
  response.setHeader("cache-control", "no-store");
  response.end(`${word}\n`);
}
