/** CORS: preflights, origins, and the headers that pages may send and read. */
import { afterEach, describe, expect, it } from "vitest";
import { startBridge, type TestBridge } from "../support/http-bridge.js";
import { send1 } from "../support/http-client.js";

const PATH = "/api/v1/kv/buckets";
let bridge: TestBridge | undefined;
afterEach(() => bridge?.close());

async function start(allowedOrigins: readonly string[] | "*"): Promise<string> {
  bridge = await startBridge({}, { allowedOrigins });
  return bridge.url;
}

const preflight = (origin: string): Record<string, string> => ({
  origin,
  "access-control-request-method": "PUT",
  "access-control-request-headers": "if-match,x-ironflow-environment",
});

describe("CORS", () => {
  it("allows every origin by default, without credentials", async () => {
    const url = await start("*");
    const { status, headers } = await send1(url, "OPTIONS", PATH, {
      headers: preflight("https://a.example"),
    });
    expect(status).toBe(204);
    expect(headers["access-control-allow-origin"]).toBe("*");
    expect(headers["access-control-allow-credentials"]).toBeUndefined();
    expect(headers["access-control-allow-methods"]).toContain("PATCH");
    for (const name of [
      "If-Match",
      "If-None-Match",
      "X-Ironflow-Environment",
      "Idempotency-Key",
      "Last-Event-ID",
      "X-Grpc-Web",
    ]) {
      expect(headers["access-control-allow-headers"]?.split(", ")).toContain(name);
    }
    expect(headers["access-control-max-age"]).toBe("7200");
    expect(bridge?.registry.calls).toEqual([]);
  });

  it("lets a page read the headers of answers and errors", async () => {
    const url = await start("*");
    for (const path of [PATH, "/api/nothing"]) {
      const { headers } = await send1(url, "GET", path, { headers: { origin: "https://a.example" } });
      expect(headers["access-control-allow-origin"]).toBe("*");
      expect(headers["access-control-expose-headers"]).toContain("ETag");
    }
  });

  it("allows the origins of the list, and no other", async () => {
    const url = await start(["https://a.example"]);
    for (const [method, headers] of [
      ["OPTIONS", preflight("https://a.example")],
      ["GET", { origin: "https://a.example" }],
    ] as const) {
      const answer = await send1(url, method, PATH, { headers });
      expect(answer.headers["access-control-allow-origin"]).toBe("https://a.example");
      expect(answer.headers.vary).toBe("Origin");
    }
    for (const origin of ["https://b.example", "null", "https://a.example.evil", "http://a.example"]) {
      const answer = await send1(url, "OPTIONS", PATH, { headers: preflight(origin) });
      expect([answer.status, answer.headers["access-control-allow-origin"]]).toEqual([204, undefined]);
      expect(answer.headers["access-control-allow-methods"]).toBeUndefined();
    }
  });

  it("ignores requests without an origin", async () => {
    const url = await start("*");
    const { headers } = await send1(url, "GET", PATH);
    expect(Object.keys(headers).filter((name) => name.startsWith("access-control"))).toEqual([]);
  });

  it("answers OPTIONS that is not a preflight with the methods of the path", async () => {
    const url = await start("*");
    const { headers } = await send1(url, "OPTIONS", PATH, { headers: { origin: "https://a.example" } });
    expect(headers.allow).toBe("GET, HEAD, OPTIONS, POST");
  });
});
