/** GET /healthz and /readyz: plain HTTP for probes. Both open without a key, and neither says more than yes or no. */
import type { ServerResponse } from "node:http";
import type { Http2ServerResponse } from "node:http2";

/** Resolves when the storage answers; rejects otherwise. */
export type Readiness = () => Promise<void>;

/** Answers a probe: /healthz, that the process is alive; /readyz, that it takes calls and its storage answers. */
export async function answerHealth(
  path: "/healthz" | "/readyz",
  response: ServerResponse | Http2ServerResponse,
  isStopping: boolean,
  readiness: Readiness,
): Promise<void> {
  if (path === "/healthz") {
    answer(response, 200, "ok");
  } else if (isStopping) {
    answer(response, 503, "stopping");
  } else {
    await readiness().then(
      () => answer(response, 200, "ready"),
      () => answer(response, 503, "storage unavailable"),
    );
  }
}

function answer(response: ServerResponse | Http2ServerResponse, status: number, word: string): void {
  response.statusCode = status;
  response.setHeader("content-type", "text/plain; charset=utf-8");
  response.setHeader("cache-control", "no-store");
  response.end(`${word}\n`);
}
