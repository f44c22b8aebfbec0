/** Bodies: JSON is checked member by member; values are stored complete or not at all. */
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect as connectSocket } from "node:net";
import { describe, expect, it } from "vitest";
import { type UpdateBucketRequest } from "../../gen/ironflow/kv/v1/bucket_service_pb.js";
import { startBridge } from "../support/http-bridge.js";
import { type TestAnswer, sendBytes } from "../support/http-client.js";
import { KEYS, bridge, lastRequest, send, useBridge } from "../support/rest-answers.js";

useBridge();

describe("JSON bodies", () => {
  const json = { "content-type": "application/json" };
  const post = (body: string | Uint8Array, headers: Record<string, string> = json): Promise<TestAnswer> =>
    send("POST", "/api/v1/kv/buckets", { body, headers });

  it.each([
    ["", "The body is empty"],
    ["{", "not JSON"],
    ["[]", "not an object"],
    ["null", "not an object"],
    ['"b"', "not an object"],
    ['{"name":7}', "name is 7; it must be a string."],
    [
      '{"nme":"b"}',
      'The body has "nme"; the allowed fields are name, description, ttl_seconds, max_value_size, max_bytes, history.',
    ],
    ['{"name":"b","__proto__":1}', 'The body has "__proto__"'],
    ['{"name":"b","constructor":1}', 'The body has "constructor"'],
    ['{"name":"b","ttl":"5s"}', 'The body has "ttl"'],
    ['{"name":"b","ttl_seconds":"5"}', 'ttl_seconds is "5"; it must be a whole number of seconds'],
    ['{"name":"b","ttl_seconds":-1}', "ttl_seconds is -1; it must be"],
    ['{"name":"b","ttl_seconds":0.0001}', "ttl_seconds is 0.0001; it must be"],
    ['{"name":"b","ttl_seconds":1e300}', "it must be a whole number of seconds"],
    ['{"name":"b","history":1.5}', "history is 1.5; it must be a whole number from 0 to 4294967295."],
    ['{"name":"b","history":true}', "history is true; it must be a whole number"],
    ['{"name":"b","max_value_size":4294967296}', "it must be a whole number from 0 to 4294967295."],
    ['{"name":"b","max_bytes":9007199254740992}', "it must be a whole number from 0 to 9007199254740991."],
    ['{"name":"b","max_bytes":-1}', "it must be a whole number"],
  ])("%j is refused", async (body, sentence) => {
    const answer = await post(body);
    expect(answer.status).toBe(400);
    expect((answer.json as { error: string }).error).toContain(sentence);
    expect(bridge().registry.calls).toEqual([]);
  });

  it("rejects a body that is not UTF-8", async () => {
    expect((await post(Buffer.from('{"name":"\xe4"}', "latin1"))).status).toBe(400);
  });

  it("treats null as unset in a create, and rejects it in an update", async () => {
    expect((await post('{"name":"b","description":null,"ttl_seconds":null}')).status).toBe(201);
    const answer = await send("PATCH", "/api/v1/kv/buckets/b", {
      body: '{"ttl_seconds":null}',
      headers: json,
    });
    expect(answer.status).toBe(400);
  });

  it("changes only what the body names", async () => {
    await send("PATCH", "/api/v1/kv/buckets/b", {
      body: '{"description":"","ttl_seconds":0}',
      headers: json,
    });
    const request = lastRequest<UpdateBucketRequest>();
    expect(request).toMatchObject({ bucket: "b", description: "", ttl: { seconds: 0n } });
    expect([request.maxBytes, request.maxValueSize, request.history]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });

  it.each([
    ["application/json; charset=utf-8", 201],
    ["application/merge-patch+json", 201],
    ["text/plain;charset=UTF-8", 201],
    ["application/x-www-form-urlencoded", 201],
    ["application/xml", 415],
    ["multipart/form-data; boundary=x", 415],
  ])("the content type %s gives %i", async (type, status) => {
    expect((await post('{"name":"b"}', { "content-type": type })).status).toBe(status);
  });

  it("accepts a body without a content type", async () =>
    expect((await post('{"name":"b"}', {})).status).toBe(201));

  it("omits unset fields of a bucket", async () => {
    const answer = await send("GET", "/api/v1/kv/buckets/b");
    expect(answer.text).toBe(
      '{"name":"b","values":0,"bytes":0,"history":1,"created_at":"1970-01-01T00:00:00.000Z"}',
    );
  });
});

describe("bodies", () => {
  it("rejects a compressed one", async () => {
    const answer = await send("PUT", `${KEYS}/k`, { body: "x", headers: { "content-encoding": "gzip" } });
    expect([answer.status, answer.headers["accept-encoding"]]).toEqual([415, "identity"]);
  });

  it("enforces the limit on one of unknown length while it is read", async () => {
    const chunk = `${(600).toString(16)}\r\n${"x".repeat(600)}\r\n`;
    const head = `PUT ${KEYS}/k HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n`;
    expect(await sendBytes(bridge().port, `${head}${chunk}${chunk}0\r\n\r\n`)).toMatch(/^HTTP\/1\.1 413 /);
    expect(bridge().registry.calls).toEqual([]);
    expect(await sendBytes(bridge().port, `${head}${chunk}0\r\n\r\n`)).toMatch(/^HTTP\/1\.1 200 /);
  });

  it("keeps the connection usable after a rejected body", async () => {
    const refused = `PUT ${KEYS}/k HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n${"x".repeat(200_000)}`;
    const next = `GET ${KEYS}/k HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`;
    const answers = await sendBytes(bridge().port, refused + next);
    expect(answers.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 413", "HTTP/1.1 200"]);
  });

  it("sends 100 Continue, unless it rejects the request", async () => {
    const head = (path: string): string =>
      `PUT ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n`;
    expect(await sendBytes(bridge().port, `${head(`${KEYS}/k`)}x`)).toMatch(
      /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 /,
    );
    expect(await sendBytes(bridge().port, `${head("/api/no")}x`)).toMatch(/^HTTP\/1\.1 404 /);
  });

  it("writes nothing of one that is truncated over HTTP/1.1", async () => {
    const socket = connectSocket(bridge().port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.write(`PUT ${KEYS}/k HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc`);
    socket.end();
    await once(socket.resume(), "close");
    expect(bridge().registry.calls).toEqual([]);
  });

  it("writes nothing of one that is reset over HTTP/2", async () => {
    const session = connectHttp2(bridge().http2Url);
    const stream = session.request({ ":method": "PUT", ":path": `${KEYS}/k`, "content-length": "10" });
    stream.on("error", () => undefined);
    await new Promise<void>((resolve) => stream.write("abc", () => resolve()));
    stream.close(8);
    await once(stream, "close");
    // A call on the same connection is behind the reset.
    const next = session.request({ ":path": "/api/v1/kv/buckets/b" });
    await once(next.resume(), "end");
    session.close();
    expect(bridge().registry.calls.map(({ name }) => name)).toEqual(["getBucket"]);
  });

  it("times out one over HTTP/2", async () => {
    const slow = await startBridge({}, { limits: { requestTimeoutMs: 50 } });
    const session = connectHttp2(slow.http2Url);
    const stream = session.request({ ":method": "PUT", ":path": `${KEYS}/k` });
    stream.write("a");
    // Both events may come in one turn.
    const closed = once(stream, "close");
    const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
    expect(headers[":status"]).toBe(408);
    // The client is told to stop: otherwise the rest of the body would hold back the connection.
    stream.resume();
    await closed;
    expect(stream.rstCode).toBe(0);
    session.close();
    await slow.close();
  });
});
