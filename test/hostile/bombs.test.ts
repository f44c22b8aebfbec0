/** Small bodies that become large: compressed requests, on every door that takes them. */
import { connect as connectHttp2, constants } from "node:http2";
import { once } from "node:events";
import { brotliCompressSync, constants as zlib, deflateSync, gzipSync } from "node:zlib";
import { describe, expect } from "vitest";
import { serviceTest } from "../support/fixtures.js";
import { send1, send2 } from "../support/http-client.js";

const PUT = "/ironflow.kv.v1.KeyValueService/Put";
const WATCH = "/ironflow.kv.v1.KeyValueService/Watch";
/** 32 MiB of zeros in 32 KB. */
const ZEROS = Buffer.alloc(32 * 1_048_576);
const BOMB = gzipSync(ZEROS);
const BROTLI_BOMB = brotliCompressSync(ZEROS, { params: { [zlib.BROTLI_PARAM_QUALITY]: 1 } });

const it = serviceTest().extend(
  "post",
  ({ service }) =>
    async (
      path: string,
      headers: Readonly<Record<string, string>>,
      body: Uint8Array,
    ): Promise<{ status: number; grpcStatus: string | undefined; text: string }> => {
      const session = connectHttp2(service.url);
      session.on("error", () => undefined);
      try {
        const stream = session.request({ ":method": "POST", ":path": path, ...headers });
        let grpcStatus: string | undefined;
        const note = (fields: Record<string, string | undefined>): void => {
          grpcStatus ??= fields["grpc-status"];
        };
        stream.on("trailers", note);
        // An answer that comes before the end of the body resets what is left of it.
        stream.on("error", (error: NodeJS.ErrnoException) => {
          if (stream.rstCode !== constants.NGHTTP2_NO_ERROR) throw error;
        });
        stream.end(body);
        const [response] = (await once(stream, "response")) as [Record<string, string | undefined>];
        note(response);
        let text = "";
        stream.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
        await new Promise((resolve) => stream.on("close", resolve));
        return { status: Number(response[":status"]), grpcStatus, text };
      } finally {
        session.destroy();
      }
    },
);

/** A message of gRPC or of a stream of Connect, marked as compressed. */
function envelope(bytes: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(1, 0);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

const GRPC = { te: "trailers", "content-type": "application/grpc", "grpc-encoding": "gzip" };
const GRPC_WEB = { "content-type": "application/grpc-web+proto", "grpc-encoding": "gzip" };
const CONNECT = { "content-type": "application/proto", "content-encoding": "gzip" };
const CONNECT_JSON = { "content-type": "application/json", "content-encoding": "gzip" };
const CONNECT_STREAM = { "content-type": "application/connect+proto", "connect-content-encoding": "gzip" };

describe("a bomb of 32 MiB", () => {
  it.for([
    ["gRPC", PUT, GRPC, envelope(BOMB)],
    ["gRPC, to a stream", WATCH, GRPC, envelope(BOMB)],
    ["gRPC-Web", PUT, GRPC_WEB, envelope(BOMB)],
    ["Connect", PUT, CONNECT, BOMB],
    ["Connect, as JSON", PUT, CONNECT_JSON, BOMB],
    ["Connect, to a stream", WATCH, CONNECT_STREAM, envelope(BOMB)],
  ] as const)(
    "is refused as too large over %s, and not made whole",
    async ([, path, headers, body], { post }) => {
      const peak = watchMemory();
      const { status, grpcStatus, text } = await post(path, headers, body);
      // RESOURCE_EXHAUSTED, in the form of each protocol.
      expect(`${status} ${grpcStatus} ${text}`).toMatch(
        /^(200 8 |200 undefined [^]*(grpc-status: 8|"resource_exhausted")|429 )/,
      );
      expect(peak.stop()).toBeLessThan(ZEROS.length);
    },
  );

  it("of a hundred at once is, too", async ({ post }) => {
    const peak = watchMemory();
    const answers = await Promise.all(Array.from({ length: 100 }, () => post(PUT, GRPC, envelope(BOMB))));
    expect(answers.map(({ grpcStatus }) => grpcStatus)).toEqual(answers.map(() => "8"));
    expect(peak.stop()).toBeLessThan(20 * ZEROS.length);
  });

  it("is nothing to REST, which takes no compressed bodies", async ({ service }) => {
    for (const send of [send1, send2]) {
      for (const [encoding, body] of [
        ["gzip", BOMB],
        ["deflate", deflateSync(ZEROS)],
        ["br", BROTLI_BOMB],
      ] as const) {
        const headers = { "content-encoding": encoding };
        const answer = await send(service.url, "PUT", "/api/v1/kv/buckets/b/keys/k", { headers, body });
        expect(answer.status).toBe(415);
      }
    }
  });

  it.for([
    ["deflate", deflateSync(ZEROS)],
    ["br", BROTLI_BOMB],
    ["gzip, gzip", gzipSync(BOMB)],
  ] as const)("is refused in another coding, %s", async ([encoding, body], { post }) => {
    const { status } = await post(PUT, { ...CONNECT, "content-encoding": encoding }, body);
    expect(status).toBe(501);
    const { grpcStatus } = await post(PUT, { ...GRPC, "grpc-encoding": encoding }, envelope(body));
    expect(grpcStatus).toBe("12");
  });
});

describe("a body that is not what it says", () => {
  it.for([
    ["no gzip at all", Buffer.from("hello")],
    ["half of it", BOMB.subarray(0, 1_000)],
    ["nothing", Buffer.alloc(0)],
    [
      "gzip with a wrong checksum",
      Buffer.concat([gzipSync(Buffer.alloc(10)).subarray(0, -8), Buffer.alloc(8)]),
    ],
  ] as const)("is the client's fault: %s", async ([, body], { service, post }) => {
    expect((await post(PUT, CONNECT, body)).status).toBeLessThan(502);
    expect((await post(PUT, GRPC, envelope(body))).status).toBe(200);
    expect((await send1(service.url, "GET", "/healthz")).status).toBe(200);
  });

  it("is refused where an envelope says 4 GiB", async ({ post }) => {
    const body = Buffer.from([0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]);
    expect((await post(PUT, { ...GRPC, "grpc-encoding": "identity" }, body)).grpcStatus).toBe("8");
  });
});

/** The most that this process, in which the service runs, took on meanwhile: what is outside of the heap. */
function watchMemory(): { stop(): number } {
  const before = process.memoryUsage().external;
  let most = before;
  const timer = setInterval(() => (most = Math.max(most, process.memoryUsage().external)), 1);
  return {
    stop() {
      clearInterval(timer);
      return most - before;
    },
  };
}
