/** Node's transport and the real service: what it sends, TLS, compression, limits, restarts, other clients. */
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { once } from "node:events";
import { type AddressInfo, connect, createServer as createNetServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, ConnectError, createClient as createRpcClient } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { BucketService, KeyValueService } from "../../packages/client/src/gen.js";
import {
  type Bucket,
  createClient,
  createTransport,
  KvError,
  KvResourceExhaustedError,
  KvUnavailableError,
  type TransportOptions,
} from "../../packages/client/src/index-node.js";
import { serviceTest } from "../support/fixtures.js";
import { type Certificate, hasOpenssl, makeCertificate } from "../support/certificates.js";
import { freshName, startTestService, type TestService } from "../support/service.js";
import { refusal, take } from "./support.js";

const it = serviceTest()
  .extend("newBucket", ({ service }) => async (options: TransportOptions = {}): Promise<Bucket> => {
    const kv = createClient({ serverUrl: service.url, ...options }).kv();
    return kv.bucket((await kv.createBucket({ name: freshName() })).name);
  })
  /** A TCP proxy to the service that records what the client writes and how much the service answers. */
  .extend("startRecorder", ({ service }) => async () => {
    const record = { writes: [] as Buffer[], answerBytes: 0 };
    const server = createNetServer((client) => {
      const upstream = connect(service.port, "127.0.0.1");
      client.on("data", (chunk) => record.writes.push(chunk)).pipe(upstream);
      upstream.on("data", (chunk) => (record.answerBytes += chunk.length)).pipe(client);
      for (const socket of [client, upstream]) {
        socket.on("error", () => undefined);
        socket.on("close", () => (socket === client ? upstream : client).destroy());
      }
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return { record, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server };
  });

it("sends a call in one write: a HEADERS frame and a DATA frame", async ({ startRecorder, newBucket }) => {
  const { record, url, server } = await startRecorder();
  const bucket = await newBucket({ serverUrl: url });
  await bucket.put("k", "v");
  record.writes = [];
  await bucket.get("k");
  // Acknowledgements of SETTINGS and windows may follow.
  const [write] = record.writes;
  const types: number[] = [];
  for (let at = 0; write !== undefined && at < write.length; at += 9 + write.readUIntBE(at, 3)) {
    types.push(write[at + 3] ?? -1);
  }
  expect(types).toEqual([1, 0]);
  server.close();
});

it("compresses requests and responses where that is asked for", async ({ startRecorder, newBucket }) => {
  const { record, url, server } = await startRecorder();
  const value = "compressible ".repeat(20_000);
  const bucket = await newBucket({ serverUrl: url, compression: true });
  await bucket.put("k", value);
  expect((await bucket.get("k")).text()).toBe(value);
  for await (const event of bucket.watch("k")) {
    expect(event.text()).toBe(value);
    break;
  }
  expect(Buffer.concat(record.writes).length).toBeLessThan(value.length / 10);
  expect(record.answerBytes).toBeLessThan(value.length / 10);
  await refusal(bucket.get("absent"), KvError, { reason: "key_not_found" });
  server.close();
});

it.for([false, true])(
  "refuses a response above responseBytesMax, also after decompression (compression: %s)",
  async (compression, { newBucket }) => {
    const bucket = await newBucket({ compression, responseBytesMax: 10_000 });
    await bucket.put("k", "x".repeat(20_000));
    const error = await refusal(bucket.get("k"), KvResourceExhaustedError, { reason: "response_too_large" });
    expect(error.message).toContain("10000");
    await refusal(bucket.watch("k").next(), KvResourceExhaustedError, { reason: "response_too_large" });
  },
);

it("continues after a restart of the service", async () => {
  const restarted = await startTestService();
  const kv = createClient({ serverUrl: restarted.url }).kv();
  const bucket = kv.bucket((await kv.createBucket({ name: freshName() })).name);
  const watch = bucket.watch();
  const first = watch.next();
  await bucket.put("a", "1");
  await first;
  await restarted.stop();
  const again = await startTestService({ "data-dir": restarted.dataDir, port: String(restarted.port) });
  await bucket.put("b", "2");
  expect((await watch.next()).value).toMatchObject({ key: "b", revision: 2n });
  await watch.return();
  await again.remove();
});

it("serves any generated client: unary and streaming calls, their headers and their errors", async ({
  service,
}) => {
  const transport = createTransport({ serverUrl: service.url });
  const buckets = createRpcClient(BucketService, transport);
  const keys = createRpcClient(KeyValueService, transport);
  const bucket = freshName();
  let header: Headers | undefined;
  await buckets.createBucket({ name: bucket }, { onHeader: (one) => (header = one) });
  expect(header?.get("content-type")).toBe("application/proto");
  await keys.put(
    { bucket, key: "k", value: new Uint8Array([1]) },
    { headers: new Headers({ "x-any": "1" }) },
  );
  const missing = keys.get({ bucket, key: "absent" });
  await expect(missing).rejects.toSatisfy((error) => ConnectError.from(error).code === Code.NotFound);
  const controller = new AbortController();
  const seen: unknown[] = [];
  const watching = (async () => {
    for await (const { event } of keys.watch({ bucket }, { signal: controller.signal })) {
      seen.push(event.case);
      if (event.case === "snapshotEnd") controller.abort();
    }
  })();
  await expect(watching).rejects.toSatisfy((error) => ConnectError.from(error).code === Code.Canceled);
  expect(seen).toEqual(["change", "snapshotEnd"]);
  const untilLate = async (): Promise<void> => {
    const messages = keys.watch({ bucket }, { timeoutMs: 50 })[Symbol.asyncIterator]();
    while ((await messages.next()).done !== true);
  };
  await expect(untilLate()).rejects.toSatisfy(
    (error) => ConnectError.from(error).code === Code.DeadlineExceeded,
  );
});

it("falls back to fetch where the server only speaks HTTP/1.1", async ({ service, newBucket }) => {
  const paths: string[] = [];
  const proxy = createServer((request, response) => {
    paths.push(request.url ?? "");
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { "content-type": type = "", "connect-protocol-version": version = "" } = request.headers;
      const headers = { "content-type": type, "connect-protocol-version": String(version) };
      void fetch(`${service.url}${request.url}`, {
        method: "POST",
        headers,
        body: Buffer.concat(chunks),
      }).then(async (answer) => {
        response.writeHead(answer.status, { "content-type": answer.headers.get("content-type") ?? "" });
        response.end(Buffer.from(await answer.arrayBuffer()));
      });
    });
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const serverUrl = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  const bucket = await newBucket({ serverUrl });
  await Promise.all(["a", "b", "c"].map((key) => bucket.put(key, key)));
  expect((await bucket.get("b")).text()).toBe("b");
  expect(paths.every((path) => path.startsWith("/ironflow.kv.v1."))).toBe(true);
  proxy.closeAllConnections();
  proxy.close();
});

describe.skipIf(!hasOpenssl)("TLS", () => {
  let folder: string;
  let secured: TestService;
  let authority: Certificate;
  let client: Certificate;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "ironflow-sdk-tls-"));
    authority = makeCertificate(folder, "authority");
    const server = makeCertificate(folder, "server", authority);
    client = makeCertificate(folder, "client", authority);
    secured = await startTestService({
      "tls-cert": server.certFile,
      "tls-key": server.keyFile,
      "tls-client-ca": authority.certFile,
      "tls-client-scopes": "client=admin,read,write,watch:*",
    });
  });
  afterAll(async () => {
    await secured.remove();
    await rm(folder, { recursive: true, force: true });
  });

  it("uses the given authority and client certificate", async () => {
    const tls = { ca: authority.cert, cert: client.cert, key: client.key };
    const kv = createClient({ serverUrl: secured.url, tls }).kv();
    const bucket = kv.bucket((await kv.createBucket({ name: freshName() })).name);
    await bucket.put("k", "v");
    expect(await take(bucket.watch("k"), 1)).toEqual(["put k=v @1"]);
  });

  it("refuses a server whose authority it does not know, and says so", async () => {
    const kv = createClient({ serverUrl: secured.url, retry: false, tls: { ca: client.cert } }).kv();
    const error = await refusal(kv.listBuckets(), KvUnavailableError, { reason: "connection_failed" });
    expect(error.message).toMatch(/certificate/);
  });

  it("refuses certificates that can't be read when the client is created", () => {
    expect(() => createClient({ serverUrl: secured.url, tls: { cert: "nothing" } })).toThrow();
  });
});
