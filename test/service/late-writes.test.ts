/** Writes that nobody waits for any more, canceled or past their deadline, do not begin: over every protocol that writes. */
import { create, toBinary, toJsonString } from "@bufbuild/protobuf";
import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { setImmediate as nextTurn, setTimeout as delay } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { describe, expect } from "vitest";
import { PutRequestSchema } from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { serviceTest } from "../support/fixtures.js";
import { freshName } from "../support/service.js";
import { IS_EXTENDED } from "../support/extended.js";

const PUT = "/ironflow.kv.v1.KeyValueService/Put";
const CANCELED_WRITES = IS_EXTENDED ? 300 : 50;

const bucket = freshName();
const it = serviceTest()
  .extend("session", { scope: "file" }, ({ service }, { onCleanup }): ClientHttp2Session => {
    const session = connectHttp2(service.url);
    onCleanup(() => session.destroy());
    return session;
  })
  /** Sends headers and half of the body, and the rest after a pause. */
  .extend(
    "call",
    ({ service, session }) =>
      async ({ version, headers }: Form, body: Buffer, pauseMs: number): Promise<Answer> => {
        const halves = [body.subarray(0, body.length >> 1), body.subarray(body.length >> 1)] as const;
        if (version === 1) {
          const { port } = service;
          const request = httpRequest({ host: "127.0.0.1", port, method: "POST", path: PUT, headers });
          request.write(halves[0]);
          await received();
          await delay(pauseMs);
          request.end(halves[1]);
          const [response] = (await once(request, "response")) as [import("node:http").IncomingMessage];
          const chunks = (await response.toArray()) as Buffer[];
          return { status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString("latin1") };
        }
        const stream = session.request({ ":method": "POST", ":path": PUT, ...headers });
        let status = 0;
        let trailers = "";
        stream.on("response", (fields) => {
          status = fields[":status"] ?? 0;
          trailers += JSON.stringify(fields);
        });
        stream.on("trailers", (fields) => (trailers += JSON.stringify(fields)));
        stream.write(halves[0]);
        await received();
        await delay(pauseMs);
        stream.end(halves[1]);
        const chunks = (await stream.toArray()) as Buffer[];
        return { status, text: trailers + Buffer.concat(chunks).toString("latin1") };
      },
  )
  .extend("read", ({ service }) => async (key: string): Promise<string | undefined> => {
    const response = await fetch(`${service.url}/api/v1/kv/buckets/${bucket}/keys/${key}?raw=true`);
    return response.status === 404 ? undefined : await response.text();
  });
it.beforeAll(async ({ service }) => {
  await fetch(`${service.url}/api/v1/kv/buckets`, { method: "POST", body: JSON.stringify({ name: bucket }) });
});

/** The service runs in this process: after some turns of the event loop it has read what was sent, however late these are. */
async function received(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await nextTurn();
}

interface Form {
  readonly name: string;
  readonly version: 1 | 2;
  readonly headers: Readonly<Record<string, string>>;
  readonly timeout: Readonly<Record<string, string>>;
  readonly bodyOf: (key: string, value: string) => Buffer;
}

const binary = (key: string, value: string): Buffer =>
  Buffer.from(
    toBinary(PutRequestSchema, create(PutRequestSchema, { bucket, key, value: Buffer.from(value) })),
  );
const json = (key: string, value: string): Buffer =>
  Buffer.from(
    toJsonString(PutRequestSchema, create(PutRequestSchema, { bucket, key, value: Buffer.from(value) })),
  );
function enveloped(flags: number, message: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flags, 0);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

const GRPC_TIMEOUT = { "grpc-timeout": "50m" };
const CONNECT_TIMEOUT = { "connect-timeout-ms": "50" };
const FORMS: readonly Form[] = [
  {
    name: "gRPC",
    version: 2,
    headers: { "content-type": "application/grpc", te: "trailers" },
    timeout: GRPC_TIMEOUT,
    bodyOf: (key, value) => enveloped(0, binary(key, value)),
  },
  {
    name: "gRPC, compressed",
    version: 2,
    headers: { "content-type": "application/grpc", te: "trailers", "grpc-encoding": "gzip" },
    timeout: GRPC_TIMEOUT,
    bodyOf: (key, value) => enveloped(1, gzipSync(binary(key, value))),
  },
  ...([1, 2] as const).flatMap((version): Form[] => [
    {
      name: "gRPC-Web",
      version,
      headers: { "content-type": "application/grpc-web+proto" },
      timeout: GRPC_TIMEOUT,
      bodyOf: (key, value) => enveloped(0, binary(key, value)),
    },
    {
      name: "gRPC-Web, compressed",
      version,
      headers: { "content-type": "application/grpc-web+proto", "grpc-encoding": "gzip" },
      timeout: GRPC_TIMEOUT,
      bodyOf: (key, value) => enveloped(1, gzipSync(binary(key, value))),
    },
    {
      name: "Connect, binary",
      version,
      headers: { "content-type": "application/proto" },
      timeout: CONNECT_TIMEOUT,
      bodyOf: binary,
    },
    {
      name: "Connect, JSON",
      version,
      headers: { "content-type": "application/json" },
      timeout: CONNECT_TIMEOUT,
      bodyOf: json,
    },
    {
      name: "Connect, compressed",
      version,
      headers: { "content-type": "application/proto", "content-encoding": "gzip" },
      timeout: CONNECT_TIMEOUT,
      bodyOf: (key, value) => gzipSync(binary(key, value)),
    },
  ]),
];

interface Answer {
  readonly status: number;
  /** Trailers and body as one text. */
  readonly text: string;
}

describe.each(FORMS)("$name over HTTP/$version", (form) => {
  it("does not begin a write whose deadline passed before its body was complete", async ({ call, read }) => {
    const key = freshName("late");
    const late = { ...form, headers: { ...form.headers, ...form.timeout } };
    const answer = await call(late, form.bodyOf(key, "late"), 150);
    expect(answer.text).toMatch(/deadline_exceeded|grpc-status"?: ?"?4/);
    expect(await read(key)).toBeUndefined();
    const punctual = await call(form, form.bodyOf(key, "punctual"), 150);
    expect(punctual.status).toBe(200);
    expect(await read(key)).toBe("punctual");
  });
});

describe.each(FORMS.filter(({ version }) => version === 2))("$name", (form) => {
  it("never applies a canceled write after a later one that was acknowledged", async ({
    session,
    service,
    read,
  }) => {
    const wrong: string[] = [];
    for (let count = 0; count < CANCELED_WRITES; count++) {
      const key = freshName("canceled");
      const canceled = session.request({ ":method": "POST", ":path": PUT, ...form.headers });
      canceled.on("error", () => undefined);
      canceled.end(form.bodyOf(key, "canceled"));
      const reset = once(canceled, "close");
      setImmediate(() => canceled.close(8));
      await reset;
      const response = await fetch(`${service.url}/api/v1/kv/buckets/${bucket}/keys/${key}`, {
        method: "PUT",
        body: "acknowledged",
      });
      expect(response.status).toBe(200);
      if ((await read(key)) !== "acknowledged") wrong.push(key);
    }
    // What was canceled has had its time by now.
    for (let count = 1; count <= CANCELED_WRITES; count++) await read(freshName("later"));
    expect(wrong).toEqual([]);
  });
});
