/** Tickets: what a browser opens a watch with, since it can't set headers there. */
import { describe, expect } from "vitest";
import { createClient, KvPermissionDeniedError } from "@ironflow-kv/client";
import { copiesTest } from "../support/fixtures.js";
import { startTestService } from "../support/service.js";
import { open1, open2, readEvents } from "../support/sse-client.js";
import { refusedUpgrade, WatchClient } from "../support/watch-client.js";

const ROOT_KEY = "the-root-key-of-tests";
const WATCH = "/api/v1/kv/buckets/b/watch";
const REFUSED = {
  code: "unauthenticated",
  error: expect.stringContaining("A valid API key is required") as string,
};

const SETTINGS = { "api-key": ROOT_KEY, "watch-ticket-ms": "60000" };
const it = copiesTest(SETTINGS)
  .extend("other", { scope: "file" }, ({ startCopy }) => startCopy(SETTINGS))
  /** A key that may watch both buckets, `b` and `c`. */
  .extend("page", { scope: "file" }, async ({ service }) => {
    const root = createClient({ serverUrl: service.url, apiKey: ROOT_KEY });
    await root.kv().createBucket({ name: "b" });
    await root.kv().createBucket({ name: "c" });
    await root.kv().bucket("b").put("k", "v");
    const scopes = [{ accesses: ["watch"] as const, buckets: "*" }];
    return root.apiKeys().create({ name: "page", scopes });
  })
  .extend("keyId", { scope: "file" }, ({ page }) => page.id)
  .extend("key", { scope: "file" }, ({ page }) => page.secret)
  .extend("ticketOf", ({ service }) => async (apiKey: string, bucket = "b"): Promise<string> => {
    const keys = createClient({ serverUrl: service.url, apiKey, retry: false }).apiKeys();
    return (await keys.createWatchTicket(bucket)).ticket;
  });

describe("a ticket", () => {
  it("opens one watch by WebSocket, through any copy of the service", async ({
    ticketOf,
    key,
    other,
    service,
  }) => {
    const ticket = await ticketOf(key);
    expect(ticket).toMatch(/^ifticket_[0-9a-f]{40}$/);
    const client = await WatchClient.open(other.url, `${WATCH}?ticket=${ticket}`);
    expect(await client.have(1)).toMatchObject([{ type: "kv_update", key: "k" }]);
    client.socket.close();
    for (const { url } of [service, other]) {
      expect(await refusedUpgrade(url, `${WATCH}?ticket=${ticket}`)).toEqual([401, REFUSED]);
    }
  });

  it("opens one watch by SSE, over both versions of HTTP", async ({ ticketOf, key, service }) => {
    for (const open of [open1, open2]) {
      const path = `${WATCH}?ticket=${await ticketOf(key)}`;
      const stream = await open(service.url, path);
      expect(await readEvents(stream.body, 1)).toMatchObject([{ data: { key: "k" } }]);
      stream.leave();
      expect((await open1(service.url, path)).status).toBe(401);
    }
  });

  it("is taken by one of many that bring it at once", async ({ ticketOf, key, service, other }) => {
    const path = `${WATCH}?ticket=${await ticketOf(key)}`;
    const streams = await Promise.all(
      Array.from({ length: 10 }, (_, index) => open1((index % 2 === 0 ? service : other).url, path)),
    );
    expect(streams.map(({ status }) => status).sort()).toEqual([200, ...Array<number>(9).fill(401)]);
    for (const { leave } of streams) leave();
  });

  it("is for its bucket alone", async ({ ticketOf, key, service }) => {
    const ticket = await ticketOf(key, "c");
    expect(await refusedUpgrade(service.url, `${WATCH}?ticket=${ticket}`)).toEqual([401, REFUSED]);
  });

  it("is for watches alone", async ({ ticketOf, key, service }) => {
    const ticket = await ticketOf(key);
    const listed = await fetch(`${service.url}/api/v1/kv/buckets/b/keys?ticket=${ticket}`);
    expect(listed.status).toBe(400);
    const headers = { authorization: `Bearer ${ticket}` };
    expect((await fetch(`${service.url}/api/v1/kv/buckets`, { headers })).status).toBe(401);
  });

  it.for(["", "x", "ifticket_", `ifticket_${"0".repeat(40)}`, "*", ">", "a.b", "%00", "x".repeat(2_000)])(
    "is refused when it is %.30j",
    async (ticket, { service }) => {
      expect(await refusedUpgrade(service.url, `${WATCH}?ticket=${ticket}`)).toEqual([401, REFUSED]);
    },
  );

  it("can't be a key: that would stand in the URL", async ({ service, key }) => {
    expect(await refusedUpgrade(service.url, `${WATCH}?ticket=${key}`)).toEqual([401, REFUSED]);
  });

  it("needs a key that may watch the bucket", async ({ service, ticketOf, key }) => {
    const root = createClient({ serverUrl: service.url, apiKey: ROOT_KEY });
    const scopes = [{ accesses: ["read", "write", "admin"] as const, buckets: "*" }];
    const { secret } = await root.apiKeys().create({ name: "no watch", scopes });
    await expect(ticketOf(secret)).rejects.toThrow(KvPermissionDeniedError);
    await expect(ticketOf(key, "no.bucket")).rejects.toThrow(/The bucket name "no.bucket" is malformed/);
  });

  it("is good no longer than it says", async ({ service, server }) => {
    const hasty = await startTestService({
      "nats-url": server.url,
      "api-key": ROOT_KEY,
      "watch-ticket-ms": "1000",
    });
    try {
      const keys = createClient({ serverUrl: hasty.url, apiKey: ROOT_KEY }).apiKeys();
      const { ticket, expiresAt } = await keys.createWatchTicket("b");
      await new Promise((resolve) => setTimeout(resolve, expiresAt.getTime() - Date.now() + 1));
      expect(await refusedUpgrade(service.url, `${WATCH}?ticket=${ticket}`)).toEqual([401, REFUSED]);
    } finally {
      await hasty.remove();
    }
  });

  it("ends with the key that it was given for, as does its watch", async ({
    ticketOf,
    key,
    service,
    keyId,
  }) => {
    const [used, unused] = [await ticketOf(key), await ticketOf(key)];
    const client = await WatchClient.open(service.url, `${WATCH}?ticket=${used}`);
    await client.have(1);
    await createClient({ serverUrl: service.url, apiKey: ROOT_KEY }).apiKeys().revoke(keyId);
    expect(await client.untilClosed()).toEqual({ code: 1008, reason: "unauthenticated" });
    expect(client.frames.at(-1)).toEqual({ type: "error", message: REFUSED.error });
    expect(await refusedUpgrade(service.url, `${WATCH}?ticket=${unused}`)).toEqual([401, REFUSED]);
  });
});

describe("without keys", () => {
  it("a ticket works all the same, so that a page need not know", async () => {
    const open = await startTestService();
    try {
      const client = createClient({ serverUrl: open.url });
      await client.kv().createBucket({ name: "b" });
      await client.kv().bucket("b").put("k", "v");
      const { ticket } = await client.apiKeys().createWatchTicket("b");
      const watch = await WatchClient.open(open.url, `${WATCH}?ticket=${ticket}`);
      await watch.have(1);
      watch.socket.close();
      expect((await refusedUpgrade(open.url, `${WATCH}?ticket=${ticket}`))[0]).toBe(401);
    } finally {
      await open.remove();
    }
  });
});
