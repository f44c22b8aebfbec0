/** Watches over WebSocket against a real service: frames, filters, starts, and rejections before the handshake. */
import { once } from "node:events";
import { WebSocket } from "ws";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { send1 } from "../support/http-client.js";
import { freshName, startTestService, type TestService } from "../support/service.js";
import { refusedUpgrade, WatchClient } from "../support/watch-client.js";

const BUCKETS = "/api/v1/kv/buckets";

describe("a watch over WebSocket", () => {
  let service: TestService;
  beforeAll(async () => {
    service = await startTestService();
  });
  afterAll(() => service.remove());

  async function newBucket(): Promise<string> {
    const name = freshName("ws");
    await send1(service.url, "POST", BUCKETS, { body: JSON.stringify({ name, history: 5 }) });
    return name;
  }
  const put = async (bucket: string, key: string, body: string): Promise<number> => {
    const { json } = await send1(service.url, "PUT", `${BUCKETS}/${bucket}/keys/${key}`, { body });
    return (json as { revision: number }).revision;
  };
  const remove = (bucket: string, key: string, query = ""): Promise<unknown> =>
    send1(service.url, "DELETE", `${BUCKETS}/${bucket}/keys/${key}${query}`);

  it("sends a snapshot, then the changes, and nothing else", async () => {
    const bucket = await newBucket();
    await put(bucket, "a", "old");
    const present = await put(bucket, "a", "1");
    const client = await WatchClient.open(service.url, `${BUCKETS}/${bucket}/watch`);
    await client.have(1);
    const changed = await put(bucket, "user:1/x", "2");
    await remove(bucket, "a");
    await remove(bucket, "user:1/x", "?purge=true");
    expect(await client.have(4)).toEqual([
      { type: "kv_update", key: "a", value: "MQ==", revision: present, operation: "put", bucket },
      { type: "kv_update", key: "user:1/x", value: "Mg==", revision: changed, operation: "put", bucket },
      { type: "kv_update", key: "a", value: "", revision: changed + 1, operation: "delete", bucket },
      { type: "kv_update", key: "user:1/x", value: "", revision: changed + 2, operation: "delete", bucket },
    ]);
    client.socket.close();
  });

  it("filters, by several filters", async () => {
    const bucket = await newBucket();
    const client = await WatchClient.open(service.url, `${BUCKETS}/${bucket}/watch?key=a.*&key=b`);
    for (const key of ["a.1", "x", "b", "a.1.2", "a.2"]) await put(bucket, key, "v");
    const frames = (await client.have(3)) as { key: string }[];
    expect(frames.map(({ key }) => key)).toEqual(["a.1", "b", "a.2"]);
    client.socket.close();
  });

  it("skips the snapshot, or starts at a revision, on request", async () => {
    const bucket = await newBucket();
    const revisions = [await put(bucket, "a", "1"), await put(bucket, "b", "2")];
    const later = await WatchClient.open(service.url, `${BUCKETS}/${bucket}/watch?initial=false`);
    const from = await WatchClient.open(
      service.url,
      `${BUCKETS}/${bucket}/watch?start_revision=${revisions[1]}`,
    );
    const last = await put(bucket, "c", "3");
    expect(await later.have(1)).toMatchObject([{ key: "c", revision: last }]);
    expect(await from.have(2)).toMatchObject([{ key: "b" }, { key: "c" }]);
    later.socket.close();
    from.socket.close();
  });

  it("sends snapshot_end and progress frames on request", async () => {
    const bucket = await newBucket();
    const revision = await put(bucket, "a", "1");
    const client = await WatchClient.open(
      service.url,
      `${BUCKETS}/${bucket}/watch?snapshot_end=true&progress=100ms`,
    );
    const frames = await client.have(3);
    expect(frames[0]).toMatchObject({ type: "kv_update" });
    expect(frames[1]).toEqual({
      type: "snapshot_end",
      revision,
      bucket,
      bucket_created_at: expect.any(String) as string,
    });
    expect(frames[2]).toEqual({ type: "progress", revision, bucket, time: expect.any(String) as string });
    client.socket.close();
  });

  it("reports that the bucket was deleted, and closes", async () => {
    const bucket = await newBucket();
    const client = await WatchClient.open(service.url, `${BUCKETS}/${bucket}/watch`);
    await send1(service.url, "DELETE", `${BUCKETS}/${bucket}`);
    expect(await client.untilClosed()).toEqual({ code: 1008, reason: "bucket_not_found" });
    expect(client.frames).toEqual([{ type: "error", message: expect.any(String) as string }]);
  });

  it("rejects invalid requests before the handshake", async () => {
    const bucket = await newBucket();
    const watch = `${BUCKETS}/${bucket}/watch`;
    const error = expect.any(String) as string;
    expect(await refusedUpgrade(service.url, `${BUCKETS}/none/watch`)).toEqual([
      404,
      { error, code: "bucket_not_found" },
    ]);
    expect(await refusedUpgrade(service.url, `${BUCKETS}/a.b/watch`)).toEqual([
      400,
      { error, code: "invalid_argument" },
    ]);
    expect(await refusedUpgrade(service.url, `${watch}?key=a.%3E.b`)).toEqual([
      400,
      { error, code: "invalid_argument" },
    ]);
    expect(await refusedUpgrade(service.url, `${watch}?x=1`)).toEqual([
      400,
      { error, code: "invalid_argument" },
    ]);
    expect(await refusedUpgrade(service.url, `${watch}?start_revision=99`)).toEqual([
      400,
      { error, code: "revision_in_future" },
    ]);
    expect(await refusedUpgrade(service.url, `${watch}/x`)).toEqual([
      404,
      { error, code: "route_not_found" },
    ]);
    expect(await refusedUpgrade(service.url, BUCKETS)).toEqual([400, { error, code: "invalid_argument" }]);
    expect(await refusedUpgrade(service.url, "/")).toEqual([404, { error, code: "route_not_found" }]);
    const headers = { "x-ironflow-environment": "a_b" };
    expect(await refusedUpgrade(service.url, watch, headers)).toEqual([
      400,
      { error, code: "invalid_argument" },
    ]);
  });

  it("requires the API key, which a browser sends as a sub-protocol, and never accepts it in the URL", async () => {
    const locked = await startTestService({ "api-key": "0123456789abcdef" });
    try {
      const headers = { authorization: "Bearer 0123456789abcdef" };
      await send1(locked.url, "POST", BUCKETS, { body: '{"name":"b"}', headers });
      const path = `${BUCKETS}/b/watch`;
      const key = Buffer.from("0123456789abcdef").toString("base64url");
      expect((await refusedUpgrade(locked.url, path))[0]).toBe(401);
      expect((await refusedUpgrade(locked.url, `${path}?access_token=0123456789abcdef`))[0]).toBe(400);
      const wrong = { "sec-websocket-protocol": `ironflow, bearer.${key}x` };
      await expect(WatchClient.open(locked.url, path, { headers: wrong })).rejects.toThrow("401");
      (await WatchClient.open(locked.url, path, { headers })).socket.close();
      const socket = new WebSocket(locked.url.replace("http", "ws") + path, ["ironflow", `bearer.${key}`]);
      await once(socket, "open");
      expect(socket.protocol).toBe("ironflow");
      socket.close();
    } finally {
      await locked.remove();
    }
  });

  it("names the revision to resume from when the service stops", async () => {
    const other = await startTestService();
    try {
      await send1(other.url, "POST", BUCKETS, { body: '{"name":"b"}' });
      const { json } = await send1(other.url, "PUT", `${BUCKETS}/b/keys/k`, { body: "x" });
      const client = await WatchClient.open(other.url, `${BUCKETS}/b/watch`);
      await client.have(1);
      await other.stop();
      expect(await client.untilClosed()).toEqual({ code: 1001, reason: "shutting_down" });
      const next = (json as { revision: number }).revision + 1;
      expect(client.frames.at(-1)).toEqual({
        type: "error",
        message: expect.stringMatching(new RegExp(` Resume with start_revision=${next}\\.$`)) as string,
      });
    } finally {
      await other.remove();
    }
  });
});
