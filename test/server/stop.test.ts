/** Stopping: what connected clients see of it on each HTTP version, and how long it may take. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { Agent, type IncomingMessage, request } from "node:http";
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import { type Listener, listen } from "../../src/listener/listener.js";
import type { Exchange } from "../../src/protocol/exchange.js";
import {
  ACK,
  END_HEADERS,
  END_STREAM,
  Frame,
  frame,
  headerBlock,
  RawSession,
} from "../../packages/http2/test/raw-session.js";
import { hasOpenssl, makeCertificate } from "../support/certificates.js";
import { startNatsServer } from "../support/nats-server.js";
import { startTestService } from "../support/service.js";
import { spawn } from "../support/started.js";

const ROOT = join(import.meta.dirname, "../..");

const cleanUp: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

const LONG = "x".repeat(30_000_000);

/** A listener whose requests the test answers, bypassing Node's server if `isSimple`. */
async function startListener(
  isSimple = false,
): Promise<{ listener: Listener; waiting: ((text: string) => void)[]; urls: string[] }> {
  const urls: string[] = [];
  const waiting: ((text: string) => void)[] = [];
  const handle = (exchange: Exchange): void => {
    const { target } = exchange;
    const send = (text: string): void => exchange.respond(200, {}, text);
    urls.push(target);
    if (target === "/wait") waiting.push(send);
    else send(target === "/long" ? LONG : "ok");
  };
  const refuse = (): never => {
    throw new Error("not expected");
  };
  const listener = await listen({
    host: "127.0.0.1",
    port: 0,
    limits: DEFAULT_LIMITS,
    tls: undefined,
    handler: {
      handle,
      handleSimple(exchange) {
        if (isSimple) handle(exchange);
        return isSimple;
      },
      handleUpgrade: refuse,
    },
  });
  cleanUp.push(() => listener.drain(0));
  return { listener, waiting, urls };
}

/** One connection that is kept from request to request. */
function keptConnection(): Agent {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  cleanUp.push(() => agent.destroy());
  return agent;
}

async function get(url: string, agent: Agent): Promise<IncomingMessage & { readonly isReused: boolean }> {
  const outgoing = request(url, { agent }).end();
  const [answer] = (await once(outgoing, "response")) as [IncomingMessage];
  answer.resume();
  await once(answer, "end");
  return Object.assign(answer, { isReused: outgoing.reusedSocket });
}

describe.each([
  ["that bypasses Node's server", true],
  ["on Node's server", false],
])("a client of HTTP/1.1 %s", (_name, isSimple) => {
  it("gets Connection: close with the next response on its kept connection", async () => {
    const { listener } = await startListener(isSimple);
    const agent = keptConnection();
    expect((await get(listener.url, agent)).headers.connection).toBe("keep-alive");
    listener.announceStop();
    const next = await get(listener.url, agent);
    expect([next.isReused, next.headers.connection]).toEqual([true, "close"]);
    // Not on the connection before; new ones are still taken.
    expect((await get(listener.url, agent)).isReused).toBe(false);
  });

  it("gets a pending response complete, with Connection: close", async () => {
    const { listener, waiting } = await startListener(isSimple);
    const answer = get(`${listener.url}/wait`, keptConnection());
    await expect.poll(() => waiting.length).toBe(1);
    const drained = listener.drain(60_000);
    waiting[0]?.("at last");
    expect((await answer).headers.connection).toBe("close");
    await drained;
  });

  it("gets a response that it is still reading completely", async () => {
    const { listener } = await startListener(isSimple);
    const outgoing = request(`${listener.url}/long`, { agent: keptConnection() }).end();
    const [answer] = (await once(outgoing, "response")) as [IncomingMessage];
    const idle = connect(listener.port, "127.0.0.1").resume();
    await once(idle, "connect");
    const drained = listener.drain(60_000);
    // Idle ones are closed when the time that they are given is over.
    await once(idle, "close");
    let length = 0;
    for await (const chunk of answer) length += (chunk as Buffer).length;
    expect(length).toBe(LONG.length);
    await drained;
  });

  it("gets its final response complete, and later requests are not processed", async () => {
    const { listener, waiting, urls } = await startListener(isSimple);
    const client = connect(listener.port, "127.0.0.1");
    const ask = (url: string): void => void client.write(`GET ${url} HTTP/1.1\r\nHost: x\r\n\r\n`);
    ask("/wait");
    await expect.poll(() => waiting.length).toBe(1);
    listener.announceStop();
    waiting[0]?.(LONG);
    const [first] = (await once(client, "data")) as [Buffer];
    client.pause();
    ask("/late");
    expect((await get(`${listener.url}/ok`, keptConnection())).statusCode).toBe(200);
    let length = first.length;
    for await (const chunk of client) length += (chunk as Buffer).length;
    expect(length).toBeGreaterThan(LONG.length);
    expect(urls).toEqual(["/wait", "/ok"]);
  });

  it("that pipelines without reading has its requests processed one at a time", async () => {
    const { listener, waiting, urls } = await startListener(isSimple);
    const client = connect(listener.port, "127.0.0.1").resume();
    client.on("error", () => undefined);
    client.write("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1_000));
    for (let count = 1; count <= 100; count++) {
      await expect.poll(() => waiting.length, { interval: 1 }).toBe(1);
      expect(urls).toHaveLength(count);
      waiting.pop()?.("ok");
    }
    client.destroy();
  });

  it("is disconnected after the drain deadline", async () => {
    const { listener, waiting } = await startListener(isSimple);
    const outgoing = request(`${listener.url}/wait`, { agent: false }).end();
    const failed = once(outgoing, "error");
    await expect.poll(() => waiting.length).toBe(1);
    outgoing.on("response", () => expect.unreachable());
    await listener.drain(50);
    await failed;
  });
});

type StopCase = [string, () => Promise<Record<string, string>>, (port: number) => Promise<RawSession>];

describe("a client of HTTP/2", () => {
  it.each(
    [
      ["in cleartext", () => Promise.resolve({}), (port: number) => RawSession.open(port)],
      ["under TLS", certificateSettings, (port: number) => RawSession.openTls(port)],
    ].slice(0, hasOpenssl ? 2 : 1) as StopCase[],
  )(
    "%s is first asked to open no more streams, gets an answer to those that were on their way, and is then sent off",
    async (_name, settings, open) => {
      const service = await startTestService(await settings());
      cleanUp.push(() => service.remove());
      const client = await open(service.port);
      cleanUp.push(() => client.close());
      await client.until(({ type, flags }) => type === Frame.SETTINGS && flags === 0);
      client.write(frame(Frame.SETTINGS, ACK, 0));
      const stopping = service.stop();
      const answered = new Set<string>();
      const answerPing = async (): Promise<void> => {
        const ping = await client.until(
          ({ type, flags, payload }) =>
            type === Frame.PING && flags === 0 && !answered.has(payload.toString("hex")),
        );
        const payload = ping?.payload ?? Buffer.alloc(8);
        answered.add(payload.toString("hex"));
        client.write(frame(Frame.PING, ACK, 0, payload));
      };
      const goAways = (): number[][] =>
        client.received
          .filter(({ type }) => type === Frame.GOAWAY)
          .map(({ payload }) => [payload.readUInt32BE(0), payload.readUInt32BE(4)]);

      await answerPing();
      await client.until(({ type }) => type === Frame.GOAWAY);
      expect(goAways()).toEqual([[2 ** 31 - 1, 0]]);
      const head = headerBlock({
        ":method": "GET",
        ":scheme": "http",
        ":path": "/healthz",
        ":authority": "x",
      });
      client.write(frame(Frame.HEADERS, END_HEADERS | END_STREAM, 1, head));
      await client.until(
        ({ type, flags, streamId }) => streamId === 1 && type === Frame.DATA && flags === END_STREAM,
      );
      await answerPing();
      await client.closed();
      expect(goAways().slice(0, 2)).toEqual([
        [2 ** 31 - 1, 0],
        [1, 0],
      ]);
      await stopping;
    },
  );
});

async function certificateSettings(): Promise<Record<string, string>> {
  const folder = await mkdtemp(join(tmpdir(), "ironflow-stop-"));
  cleanUp.push(() => rm(folder, { recursive: true, force: true }));
  const { certFile, keyFile } = makeCertificate(folder, "stop");
  return { "tls-cert": certFile, "tls-key": keyFile };
}

describe("a watch", () => {
  it("over WebSocket ends with the revision to resume from, and code 1001", async () => {
    const service = await startTestService();
    cleanUp.push(() => service.remove());
    const bucket = `${service.url}/api/v1/kv/buckets/b`;
    await fetch(`${service.url}/api/v1/kv/buckets`, { method: "POST", body: '{"name":"b"}' });
    await fetch(`${bucket}/keys/k`, { method: "PUT", body: "v" });
    const socket = new WebSocket(`${bucket.replace("http", "ws")}/watch`);
    const frames: unknown[] = [];
    socket.on("message", (data: Buffer) => frames.push(JSON.parse(data.toString())));
    await once(socket, "message");
    const closed = once(socket, "close");
    await service.stop();
    const [code] = (await closed) as [number];
    expect(code).toBe(1001);
    expect(frames.at(-1)).toEqual({
      type: "error",
      message: expect.stringContaining("Resume with start_revision=2.") as unknown,
    });
  });
});

describe("the service", () => {
  it("stops while the storage is unavailable, and its watches report the revision to resume from", async () => {
    const nats = await startNatsServer();
    cleanUp.push(() => nats.remove());
    const service = await startTestService({ "nats-url": nats.url, "drain-timeout-ms": "2000" });
    cleanUp.push(() => service.remove());
    await fetch(`${service.url}/api/v1/kv/buckets`, { method: "POST", body: '{"name":"b"}' });
    const watch = await fetch(`${service.url}/api/v1/kv/buckets/b/watch`, {
      headers: { accept: "text/event-stream" },
    });
    await nats.stop();
    await service.stop();
    expect(await watch.text()).toContain("Resume with start_revision=1.");
  });

  it("accepts calls for SHUTDOWN_DELAY_MS after SIGTERM while not ready, and stops at once on a second signal", async () => {
    const { child, url } = await startProcess({ "shutdown-delay-ms": "3600000" });
    const bucket = `${url}/api/v1/kv/buckets/b`;
    await fetch(`${url}/api/v1/kv/buckets`, { method: "POST", body: '{"name":"b"}' });
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    child.kill("SIGTERM");
    await expect.poll(async () => (await fetch(`${url}/readyz`)).status).toBe(503);
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    const put = await fetch(`${bucket}/keys/k`, { method: "PUT", body: "v" });
    expect([put.status, put.headers.get("connection")]).toEqual([200, "close"]);
    child.kill("SIGTERM");
    expect(await once(child, "exit")).toEqual([1, null]);
  });
});

/** The built command. */
async function startProcess(
  settings: Readonly<Record<string, string>>,
): Promise<{ child: ChildProcess; url: string }> {
  const dataDir = await mkdtemp(join(tmpdir(), "ironflow-stop-"));
  cleanUp.push(() => rm(dataDir, { recursive: true, force: true }));
  const flags = Object.entries({ port: "0", "data-dir": dataDir, ...settings }).flatMap(([name, value]) => [
    `--${name}`,
    value,
  ]);
  const child = spawn(process.execPath, ["dist/src/main.js", "serve", ...flags], {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "inherit"],
  });
  cleanUp.push(() => child.kill("SIGKILL"));
  let said = "";
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.on("data", (chunk: Buffer) => {
      said += chunk.toString();
      const found = /"url":"([^"]+)"/.exec(said)?.[1];
      if (found !== undefined) resolve(found);
    });
    child.once("exit", () => reject(new Error(`it ended: ${said}`)));
  });
  return { child, url };
}
