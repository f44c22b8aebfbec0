/** Watches as server-sent events against a real service, over both versions of HTTP. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { send1 } from "../support/http-client.js";
import { freshName, startTestService, type TestService } from "../support/service.js";
import { open1, open2, readEvents } from "../support/sse-client.js";

const BUCKETS = "/api/v1/kv/buckets";

describe.each([
  ["HTTP/1.1", open1],
  ["HTTP/2", open2],
])("with a service over %s", (_, open) => {
  let service: TestService;
  beforeAll(async () => {
    service = await startTestService();
  });
  afterAll(() => service.remove());

  async function newBucket(): Promise<string> {
    const name = freshName("sse");
    await send1(service.url, "POST", BUCKETS, { body: JSON.stringify({ name, history: 5 }) });
    return name;
  }
  const put = async (bucket: string, key: string, body: string): Promise<number> => {
    const { json } = await send1(service.url, "PUT", `${BUCKETS}/${bucket}/keys/${key}`, { body });
    return (json as { revision: number }).revision;
  };

  it("sends a snapshot, then the changes, with their revisions as ids", async () => {
    const bucket = await newBucket();
    const first = await put(bucket, "a", "1");
    const stream = await open(service.url, `${BUCKETS}/${bucket}/watch?key=a`);
    expect([stream.status, stream.headers["content-type"], stream.headers["cache-control"]]).toEqual([
      200,
      "text/event-stream",
      "no-store",
    ]);
    const second = await put(bucket, "a", "2");
    expect(await readEvents(stream.body, 2)).toEqual([
      {
        id: String(first),
        data: { type: "kv_update", key: "a", value: "MQ==", revision: first, operation: "put", bucket },
      },
      {
        id: String(second),
        data: { type: "kv_update", key: "a", value: "Mg==", revision: second, operation: "put", bucket },
      },
    ]);
    stream.leave();
  });

  it("sends the previous value of a change on request, if the history has it", async () => {
    const bucket = await newBucket();
    const stream = await open(service.url, `${BUCKETS}/${bucket}/watch?previous=true&initial=false`);
    await put(bucket, "a", "1");
    await put(bucket, "a", "2");
    await send1(service.url, "DELETE", `${BUCKETS}/${bucket}/keys/a`);
    await put(bucket, "a", "3");
    const events = await readEvents(stream.body, 4);
    expect(events.map(({ data }) => (data as { previous?: unknown }).previous)).toEqual([
      undefined,
      { value: "MQ==", revision: 1, operation: "put" },
      { value: "Mg==", revision: 2, operation: "put" },
      { value: "", revision: 3, operation: "delete" },
    ]);
    stream.leave();
  });

  it("resumes after Last-Event-ID, which overrides the start in the URL", async () => {
    const bucket = await newBucket();
    const first = await put(bucket, "a", "1");
    await put(bucket, "b", "2");
    for (const query of ["", "?initial=false", "?start_revision=1"]) {
      const stream = await open(service.url, `${BUCKETS}/${bucket}/watch${query}`, {
        "last-event-id": String(first),
      });
      expect(await readEvents(stream.body, 1)).toMatchObject([{ data: { key: "b" } }]);
      stream.leave();
    }
  });

  it("rejects invalid requests with an error status", async () => {
    const bucket = await newBucket();
    const statusOf = async (path: string, headers: Record<string, string> = {}): Promise<number> => {
      const { status, leave } = await open(service.url, path, headers);
      leave();
      return status;
    };
    expect(await statusOf(`${BUCKETS}/none/watch`)).toBe(404);
    expect(await statusOf(`${BUCKETS}/${bucket}/watch?x=1`)).toBe(400);
    expect(await statusOf(`${BUCKETS}/${bucket}/watch`, { "last-event-id": "x" })).toBe(400);
    expect(await statusOf(`${BUCKETS}/${bucket}/watch`, { "last-event-id": "77" })).toBe(400);
  });

  it("ends with the reason", async () => {
    const bucket = await newBucket();
    const stream = await open(service.url, `${BUCKETS}/${bucket}/watch`);
    await send1(service.url, "DELETE", `${BUCKETS}/${bucket}`);
    expect(await readEvents(stream.body, 2)).toEqual([
      { data: { type: "error", message: expect.any(String) as string } },
    ]);
    stream.leave();
  });
});
