/** Probes and discovery: what Ironflow's SDKs ask of a server before they use it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it as plainIt } from "vitest";
import { serviceTest } from "../support/fixtures.js";
import { send1, send2 } from "../support/http-client.js";
import { startTestService } from "../support/service.js";

const it = serviceTest();
const { version } = JSON.parse(readFileSync(join(import.meta.dirname, "../../package.json"), "utf8")) as {
  version: string;
};

for (const [name, send] of [
  ["HTTP/1.1", send1],
  ["HTTP/2", send2],
] as const) {
  it(`${name}: /health and /ready answer in JSON`, async ({ service }) => {
    const health = await send(service.url, "GET", "/health");
    expect(health.status).toBe(200);
    expect(health.json).toEqual({ status: "ok", version, timestamp: expect.any(String) as string });
    expect((await send(service.url, "GET", "/ready")).json).toEqual({ status: "ready" });
  });

  it(`${name}: /api/v1/capabilities names the transports and whether a key is needed`, async ({
    service,
  }) => {
    const { status, json } = await send(service.url, "GET", "/api/v1/capabilities");
    expect(status).toBe(200);
    expect(json).toMatchObject({ version, auth_required: false });
    expect(json).toHaveProperty("transports", ["grpc", "grpc-web", "connect", "rest", "websocket", "sse"]);
    expect(json).toHaveProperty(
      "features",
      expect.arrayContaining(["kv", "config", "environments", "commit", "delete-keys", "scan"]),
    );
  });

  it.for(["/health", "/ready", "/healthz", "/readyz", "/api/v1/capabilities"])(
    `${name}: %s answers HEAD, and refuses POST with what is allowed`,
    async (path, { service }) => {
      expect((await send(service.url, "HEAD", path)).status).toBe(200);
      const refused = await send(service.url, "POST", path);
      expect(refused.status).toBe(405);
      expect(refused.headers.allow).toBe("GET, HEAD");
    },
  );
}

plainIt(
  "capabilities need no key, and say that calls do; /api/v1/apikeys is an alias of /api/v1/api-keys",
  async () => {
    const key = "0123456789abcdef";
    const service = await startTestService({ "api-key": key });
    try {
      const { json } = await send1(service.url, "GET", "/api/v1/capabilities");
      expect(json).toMatchObject({ auth_required: true });
      expect((await send1(service.url, "GET", "/health")).status).toBe(200);
      expect((await send1(service.url, "GET", "/api/v1/apikeys")).status).toBe(401);
      const headers = { authorization: `Bearer ${key}` };
      const body = JSON.stringify({ name: "k", scopes: [{ accesses: ["ACCESS_READ"], buckets: "*" }] });
      const created = await send1(service.url, "POST", "/api/v1/apikeys", { headers, body });
      expect(created.status).toBe(200);
      const listed = await send1(service.url, "GET", "/api/v1/apikeys", { headers });
      expect(listed.json).toEqual((await send1(service.url, "GET", "/api/v1/api-keys", { headers })).json);
      const { id } = (listed.json as { api_keys: { id: string }[] }).api_keys[0] ?? {};
      expect((await send1(service.url, "POST", `/api/v1/apikeys/${id}/rotate`, { headers })).status).toBe(
        200,
      );
      expect((await send1(service.url, "DELETE", `/api/v1/apikeys/${id}`, { headers })).status).toBe(204);
    } finally {
      await service.remove();
    }
  },
);
