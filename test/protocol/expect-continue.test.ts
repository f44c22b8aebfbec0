/** Clients that send Expect: 100-continue (RFC 9110 section 10.1.1), over every protocol and HTTP version. */
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { request } from "node:http";
import type { IncomingMessage } from "node:http";
import { describe, expect } from "vitest";
import { serviceTest } from "../support/fixtures.js";

const BUCKETS = "/api/v1/kv/buckets";
const PUT = "/ironflow.kv.v1.KeyValueService/Put";
const MESSAGE = JSON.stringify({ bucket: "b", key: "k", value: "QQ==" });
const ENVELOPE = Buffer.concat([Buffer.from([0, 0, 0, 0, MESSAGE.length]), Buffer.from(MESSAGE)]);

const it = serviceTest();
it.beforeAll(async ({ service }) => {
  await fetch(service.url + BUCKETS, { method: "POST", body: '{"name":"b"}' });
});

const CASES: [string, string, string, string, string | Buffer][] = [
  ["REST", "PUT", `${BUCKETS}/b/keys/k`, "text/plain", "A"],
  ["Connect", "POST", PUT, "application/json", MESSAGE],
  ["gRPC-Web", "POST", PUT, "application/grpc-web+json", ENVELOPE],
];

describe("Expect: 100-continue", () => {
  it.for([
    ...CASES,
    ["gRPC", "POST", PUT, "application/grpc+json", ENVELOPE] as (typeof CASES)[number],
  ] as const)(
    "is answered over HTTP/2 by %s, and the call goes on",
    async ([, method, path, type, body], { service }) => {
      const session = connectHttp2(service.url);
      const stream = session.request(
        { ":method": method, ":path": path, "content-type": type, expect: "100-continue" },
        { endStream: false },
      );
      await once(stream, "continue");
      const closed = once(stream, "close");
      stream.end(body);
      const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
      expect(headers[":status"]).toBe(200);
      stream.resume();
      await closed;
      session.close();
    },
  );

  it.for(CASES)(
    "is answered over HTTP/1.1 by %s, and the call goes on",
    async ([, method, path, type, body], { service }) => {
      const sent = request(service.url + path, {
        method,
        agent: false,
        headers: { "content-type": type, "content-length": Buffer.byteLength(body), expect: "100-continue" },
      });
      sent.flushHeaders();
      await once(sent, "continue");
      sent.end(body);
      const [response] = (await once(sent, "response")) as [IncomingMessage];
      expect(response.statusCode).toBe(200);
      response.resume();
    },
  );

  it("is rejected before the body is sent, over both HTTP versions", async ({ service }) => {
    const headers = { "content-length": "2000000", expect: "100-continue" };
    const sent = request(`${service.url}${BUCKETS}/b/keys/k`, { method: "PUT", agent: false, headers });
    sent.on("error", () => undefined);
    sent.flushHeaders();
    const [response] = (await once(sent, "response")) as [IncomingMessage];
    expect(response.statusCode).toBe(413);
    sent.destroy();

    const session = connectHttp2(service.url);
    const stream = session.request(
      { ":method": "PUT", ":path": `${BUCKETS}/b/keys/k`, ...headers },
      { endStream: false },
    );
    const [head] = (await once(stream, "response")) as [Record<string, unknown>];
    expect(head[":status"]).toBe(413);
    session.destroy();
  });
});

describe("an unread HTTP/2 body", () => {
  it("does not block other calls on its connection", async ({ service }) => {
    const session = connectHttp2(service.url);
    // Far more than the flow control of the connection lets through unread.
    for (let round = 0; round < 5; round++) {
      const stream = session.request({
        ":method": "PUT",
        ":path": `${BUCKETS}/b/keys/k`,
        "content-length": "4000000",
      });
      stream.on("error", () => undefined);
      stream.write(Buffer.alloc(1_000_000));
      const [head] = (await once(stream, "response")) as [Record<string, unknown>];
      expect(head[":status"]).toBe(413);
      const chunks: Buffer[] = [];
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      await once(stream, "end");
      expect(JSON.parse(Buffer.concat(chunks).toString())).toMatchObject({ code: "value_too_large" });
    }
    const stream = session.request({ ":method": "PUT", ":path": `${BUCKETS}/b/keys/k` });
    stream.end(Buffer.alloc(500_000));
    const [head] = (await once(stream, "response")) as [Record<string, unknown>];
    expect(head[":status"]).toBe(200);
    session.destroy();
  });
});
