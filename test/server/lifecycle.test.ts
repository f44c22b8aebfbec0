/** Start, stop, and loss of the embedded nats-server. */
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code } from "@connectrpc/connect";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "../support/nats-connection.js";
import { afterEach, describe, expect, it } from "vitest";
import { CONTRACT_DOORS } from "../api/doors.js";
import { bytes, clientsOf, line, refusal, text } from "../api/support.js";
import { startNatsServer } from "../support/nats-server.js";
import { startTestService, type TestService } from "../support/service.js";
import { IS_EXTENDED } from "../support/extended.js";

const STARTS = IS_EXTENDED ? 20 : 8;

const [grpc] = CONTRACT_DOORS;
if (grpc === undefined) throw new Error("no doors");

const cleanUp: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

/** The nats-servers that this process has started and that run now. */
function childServers(dataDir = ""): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const status = readFileSync(`/proc/${pid}/status`, "utf8");
        return (
          /^Name:\s+nats-server$/m.test(status) &&
          new RegExp(`^PPid:\\s+${process.pid}$`, "m").test(status) &&
          readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(dataDir)
        );
      } catch {
        return false;
      }
    });
}

const openFiles = (): number => readdirSync("/proc/self/fd").length;

async function dataFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "ironflow-lifecycle-"));
  cleanUp.push(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

async function start(settings: Record<string, string> = {}): Promise<TestService> {
  const service = await startTestService(settings);
  cleanUp.push(() => service.stop());
  return service;
}

describe.runIf(process.platform === "linux")("the service", () => {
  it(`starts and stops ${STARTS} times, keeps its data, and leaves no process and no file open`, async () => {
    const dataDir = await dataFolder();
    const before = childServers();
    let filesAfterFirst = 0;
    for (let round = 1; round <= STARTS; round++) {
      const service = await start({ "data-dir": dataDir });
      const { buckets, kv } = clientsOf(grpc, service.url);
      if (round === 1) await buckets.createBucket({ name: "kept", history: 64 });
      await kv.put({ bucket: "kept", key: "round", value: bytes(String(round)) });
      const { entries } = await kv.getHistory({ bucket: "kept", key: "round" });
      expect(entries).toHaveLength(round);
      const watch = kv.watch({ bucket: "kept" })[Symbol.asyncIterator]();
      expect(line((await watch.next()).value as never)).toBe(`put round=${round} @${round}`);
      const ending = watch.next().then(() => watch.next());
      ending.catch(() => undefined);
      await service.stop();
      const detail = await refusal(ending, Code.Unavailable, "shutting_down");
      expect(detail?.revision).toBe(BigInt(round + 1));
      expect(childServers()).toEqual(before);
      if (round === 2) filesAfterFirst = openFiles();
    }
    expect(openFiles()).toBeLessThanOrEqual(filesAfterFirst + 3);
  }, 120_000);

  it(`starts and stops ${STARTS} times on an external nats-server, and leaves no consumer there`, async () => {
    const nats = await startNatsServer();
    cleanUp.push(() => nats.remove());
    const connection = await connect({ servers: nats.url });
    cleanUp.push(() => connection.close());
    const manager = await jetstreamManager(connection);
    const leftovers = async (): Promise<string[]> => {
      const names: string[] = [];
      for await (const { config } of manager.streams.list())
        for await (const consumer of manager.consumers.list(config.name))
          names.push(`${config.name} ${consumer.name}`);
      return names;
    };
    for (let round = 1; round <= STARTS; round++) {
      const service = await start({ "nats-url": nats.url });
      const { buckets, kv } = clientsOf(grpc, service.url);
      if (round === 1) await buckets.createBucket({ name: "kept" });
      const watch = kv.watch({ bucket: "kept" })[Symbol.asyncIterator]();
      const untilEnd = async (): Promise<void> => {
        while ((await watch.next()).done !== true);
      };
      // The end of the snapshot: the watch is in place.
      await watch.next();
      const ending = untilEnd();
      ending.catch(() => undefined);
      await service.stop();
      await refusal(ending, Code.Unavailable, "shutting_down");
      await expect.poll(leftovers).toEqual([]);
    }
  }, 120_000);

  it("lets a call in flight finish when it stops", async () => {
    const service = await start();
    const { buckets, kv } = clientsOf(grpc, service.url);
    await buckets.createBucket({ name: "b" });
    const calls = Array.from({ length: 50 }, (_, index) =>
      kv.put({ bucket: "b", key: `k${index}`, value: bytes("v") }),
    );
    await calls[0];
    const outcomes = Promise.allSettled(calls);
    await service.stop();
    expect((await outcomes).map((outcome) => outcome.status)).toEqual(calls.map(() => "fulfilled"));
  });

  it("recovers after its nats-server was killed: no acknowledged write is lost, and watches miss nothing", async () => {
    const service = await start({ durability: "safe" });
    const { buckets, kv } = clientsOf(grpc, service.url);
    await buckets.createBucket({ name: "b", history: 64 });
    const watch = kv.watch({ bucket: "b" })[Symbol.asyncIterator]();
    await watch.next();
    const acknowledged: bigint[] = [];
    for (let round = 0; round < 3; round++) {
      for (let index = 0; index < 10; index++) {
        acknowledged.push(
          (await kv.put({ bucket: "b", key: `k${round}`, value: bytes(String(index)) })).revision,
        );
      }
      // Other files of this worker share a server, which is a child of this process too.
      const [pid] = childServers(service.dataDir);
      if (pid === undefined) throw new Error("The service has no nats-server.");
      process.kill(pid, "SIGKILL");
      await expect
        .poll(
          () =>
            kv.put({ bucket: "b", key: "again", value: bytes("x") }).then(
              () => true,
              () => false,
            ),
          { interval: 20 },
        )
        .toBe(true);
    }
    for (let round = 0; round < 3; round++) {
      expect(text((await kv.get({ bucket: "b", key: `k${round}` })).entry?.value)).toBe("9");
    }
    // Counting reads over a connection of its own, which may be back a moment later.
    let newest = 0n;
    const reread = async (): Promise<bigint> => {
      const answer = await buckets.getBucket({ bucket: "b" }).catch(() => undefined);
      return (newest = answer?.bucket?.revision ?? 0n);
    };
    await expect.poll(reread, { interval: 20 }).toBeGreaterThan(0n);
    const seen: bigint[] = [];
    while (seen.at(-1) !== newest) {
      const result = await watch.next();
      if (result.done === true) throw new Error("the watch ended");
      if (result.value.event.case === "change") seen.push(result.value.event.value.entry?.revision ?? 0n);
    }
    expect(seen).toEqual(Array.from({ length: Number(newest) }, (_, index) => BigInt(index + 1)));
    expect(seen).toEqual(expect.arrayContaining(acknowledged));
    await watch.return?.();
  });

  it("rejects a data directory that another service owns", async () => {
    const service = await start();
    await expect(startTestService({ "data-dir": service.dataDir })).rejects.toThrow(
      /data|in use|owned|another/i,
    );
  });

  it("fails on a port in use, and leaves nothing running", async () => {
    const service = await start();
    const before = childServers();
    await expect(startTestService({ port: String(service.port) })).rejects.toThrow(
      /^Port \d+ of 127\.0\.0\.1 is in use; set PORT to another port/,
    );
    expect(childServers()).toEqual(before);
  });
});

describe("with a list of allowed origins", () => {
  it("rejects pages of other origins in every protocol, before any effect", async () => {
    const service = await start({ "allowed-origins": "https://app.example.com" });
    const create = (path: string, body: string, origin: string): Promise<Response> =>
      fetch(service.url + path, {
        method: "POST",
        headers: { origin, "content-type": "application/json" },
        body,
      });
    const [rest, connect] = ["/api/v1/kv/buckets", "/ironflow.kv.v1.BucketService/CreateBucket"];
    for (const path of [rest, connect]) {
      expect((await create(path, '{"name":"evil"}', "https://evil.example.com")).status).toBe(403);
    }
    expect((await fetch(`${service.url}${rest}/evil`)).status).toBe(404);
    const allowed = await create(connect, '{"name":"good"}', "https://app.example.com");
    expect(allowed.status).toBe(200);
    expect(allowed.headers.get("access-control-allow-origin")).toBe("https://app.example.com");
    expect((await create(rest, '{"name":"own"}', service.url)).status).toBe(201);
  });
});

describe("with an API key", () => {
  it("rejects every call without it or with a wrong one, except the probes", async () => {
    const service = await start({ "api-key": "correct-horse-battery" });
    for (const headers of [
      {},
      { authorization: "Bearer wrong-horse-battery" },
      { authorization: "Basic abc" },
    ]) {
      const rest = await fetch(`${service.url}/api/v1/kv/buckets`, { headers });
      expect(rest.status).toBe(401);
      expect(((await rest.json()) as { code: string }).code).toBe("unauthenticated");
      const connect = await fetch(`${service.url}/ironflow.kv.v1.BucketService/ListBuckets`, {
        method: "POST",
        headers: { ...headers, "content-type": "application/json" },
        body: "{}",
      });
      expect(connect.status).toBe(401);
    }
    const good = await fetch(`${service.url}/api/v1/kv/buckets`, {
      headers: { authorization: "Bearer correct-horse-battery" },
    });
    expect(good.status).toBe(200);
    expect((await fetch(`${service.url}/readyz`)).status).toBe(200);
    await refusal(
      clientsOf(grpc, service.url).buckets.listBuckets({}),
      Code.Unauthenticated,
      "unauthenticated",
    );
  });
});
