/** GET /healthz and /readyz: plain HTTP for probes. Both open without a key, and neither says more than yes or no. */
import type { ServerResponse } from "node:http";
import type { Http2ServerResponse } from "node:http2";
import type { Health } from "../service/health.js";

/** Answers a probe: /healthz, that the process is alive; /readyz, that it takes calls and its storage answers. */
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
