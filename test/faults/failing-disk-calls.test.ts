/**
 * Every kind of write while the disk fails, with one and with two workers: none is acknowledged, /readyz says so, all succeed when the disk answers
 * again, and a power cut right after takes nothing that was acknowledged.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { kill } from "node:process";
import { type CallOptions, createClient, type Interceptor, type Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterEach, describe, expect, it } from "vitest";
import {
  Access,
  ApiKeyService,
  BackupService,
  BucketService,
  KeyValueService,
  Operation,
} from "@ironflow-kv/client/gen";
import { ConfigService } from "../../gen/ironflow/kv/v1/config_service_pb.js";
import { needsServer } from "../support/nats-program.js";
import { until } from "../support/until.js";
import { type Deployment, deploy, descendantsOf, isAlive, stateOf } from "./deployment.js";
import { diskProblem, mountDisk, type PowerCutDisk } from "./power-cut/disk.js";
import { report, times } from "./report.js";
import { reasonOf } from "./workload.js";

const problem = await diskProblem();
if (problem !== undefined)
  console.log(`Skipped: tests of a failing disk mount one of their own: ${problem}.`);

const ROOT_KEY = "the-root-key-of-tests";
const CALL: CallOptions = { timeoutMs: 5_000 };
const value = Buffer.from("x");

let dataDir: string;
let disk: PowerCutDisk | undefined;
let service: Deployment | undefined;

/** Says whether the write is stored. */
type Check = () => Promise<boolean>;
/** Writes once, something of its own; the number is another one each time. Rejects where the write is not acknowledged. */
type Write = (count: number) => Promise<Check>;

const exists = (call: Promise<unknown>): Promise<boolean> =>
  call.then(
    () => true,
    (error: unknown) => {
      if (/not_found|unauthenticated/.test(reasonOf(error) ?? "")) return false;
      throw error;
    },
  );

function transportOf(url: string, apiKey: string): Transport {
  const withKey: Interceptor = (next) => (request) => {
    request.header.set("authorization", `Bearer ${apiKey}`);
    return next(request);
  };
  return createGrpcTransport({ baseUrl: url, interceptors: [withKey] });
}

/** Every kind of write. `apiKeyIds`: API keys to rotate and to revoke. */
function kindsOf(url: string, apiKeyIds: readonly string[]): Readonly<Record<string, Write>> {
  const transport = transportOf(url, ROOT_KEY);
  const keys = createClient(KeyValueService, transport);
  const apiKeys = createClient(ApiKeyService, transport);
  const configs = createClient(ConfigService, transport);
  const has = (bucket: string, key: string): Promise<boolean> => exists(keys.get({ bucket, key }));
  const idOf = (count: number): string => apiKeyIds[count] ?? "";
  return {
    put: async (count) => {
      await keys.put({ bucket: "b", key: `put-${count}`, value }, CALL);
      return () => has("b", `put-${count}`);
    },
    commit: async (count) => {
      const put = (key: string) => ({ operation: { case: "put" as const, value: { key, value } } });
      const names = [`commit-${count}-1`, `commit-${count}-2`];
      await keys.commit({ bucket: "b", operations: names.map(put) }, CALL);
      return async () => (await Promise.all(names.map((name) => has("b", name)))).every(Boolean);
    },
    import: async (count) => {
      const { bucket } = await createClient(BucketService, transport).getBucket({ bucket: "i" }, CALL);
      const entries = [{ key: `import-${count}`, value, operation: Operation.PUT }];
      const afterRevision = bucket?.revision ?? 0n;
      await createClient(BackupService, transport).importEntries(
        { bucket: "i", afterRevision, entries },
        CALL,
      );
      return () => has("i", `import-${count}`);
    },
    "config write": async (count) => {
      await configs.setConfig({ name: `config-${count}`, data: "{}" }, CALL);
      return () => exists(configs.getConfig({ name: `config-${count}` }));
    },
    "API key creation": async (count) => {
      const scopes = [{ accesses: [Access.READ], buckets: "b" }];
      const { secret } = await apiKeys.createApiKey({ name: `created-${count}`, scopes }, CALL);
      return () => exists(createClient(BucketService, transportOf(url, secret)).getBucket({ bucket: "b" }));
    },
    "API key rotation": async (count) => {
      const { secret } = await apiKeys.rotateApiKey({ id: idOf(count) }, CALL);
      return () => exists(createClient(BucketService, transportOf(url, secret)).getBucket({ bucket: "b" }));
    },
    "API key revocation": async (count) => {
      const id = idOf(count + apiKeyIds.length / 2);
      await apiKeys.revokeApiKey({ id }, CALL);
      return async () => !(await exists(apiKeys.getApiKey({ id })));
    },
  };
}

const ROUNDS = 3;
/** Workers, and what fails. */
const CASES = (
  [
    [1, "syncs"],
    [2, "writes"],
    [1, "writes"],
    [2, "syncs"],
  ] as const
).slice(0, times({ full: 4, medium: 2, short: 1 }));

/** Calls until the service is available: with several workers, one may be back before another. Such a call has written nothing. */
async function whenAvailable<Result>(call: () => Promise<Result>): Promise<Result> {
  let result: Result | undefined;
  await until("the service is available", async () => {
    try {
      result = await call();
      return true;
    } catch (error) {
      if (reasonOf(error) === "unavailable") return false;
      throw error;
    }
  });
  return result as Result;
}

/** Creates the buckets and the API keys that the writes need. */
async function prepare(url: string): Promise<Readonly<Record<string, Write>>> {
  const transport = transportOf(url, ROOT_KEY);
  const buckets = createClient(BucketService, transport);
  for (const name of ["b", "i"]) await buckets.createBucket({ name });
  const ids: string[] = [];
  for (let index = 0; index < 2 * ROUNDS; index++) {
    const scopes = [{ accesses: [Access.READ], buckets: "b" }];
    const { apiKey } = await createClient(ApiKeyService, transport).createApiKey({
      name: `k${index}`,
      scopes,
    });
    ids.push(apiKey?.id ?? "");
  }
  return kindsOf(url, ids);
}

describe.skipIf(problem !== undefined || needsServer("2.15.1").skip)("while the disk fails", () => {
  afterEach(async () => {
    await service?.remove();
    await disk?.unmount();
    await rm(dataDir, { recursive: true, force: true });
  });

  it.each(CASES)(
    "with WORKERS=%i, no kind of write is acknowledged whose %s fail, and a power cut takes none that was",
    async (workers, what) => {
      dataDir = await mkdtemp(join(tmpdir(), "ironflow-failing-calls-"));
      const failing = (disk = await mountDisk(join(dataDir, "jetstream")));
      const deployed = (service = await deploy({
        ...{ DATA_DIR: dataDir, WORKERS: String(workers), IRONFLOW_API_KEY: ROOT_KEY },
      }));
      await deployed.ready();
      const kinds = await prepare(deployed.url);
      const checks = new Map<string, Check>();
      const writeAll = async (round: number): Promise<void> => {
        for (const [name, write] of Object.entries(kinds))
          checks.set(`${name} ${round}`, await whenAvailable(() => write(round)));
      };
      const untilReadiness = (expected: string): Promise<void> =>
        until(`/readyz says ${expected}`, async () => {
          const answer = await fetch(`${deployed.url}/readyz`);
          return `${answer.status} ${(await answer.text()).trim()}` === expected;
        });
      await writeAll(0);
      await (what === "syncs" ? failing.failSyncs("EIO") : failing.failWrites("EIO"));
      const reasons = new Set<string>();
      const attempts = Object.entries(kinds).map(async ([name, write]) => {
        try {
          await write(1);
          return name;
        } catch (error) {
          reasons.add(reasonOf(error) ?? "no reason");
          return undefined;
        }
      });
      const acknowledged = (await Promise.all(attempts)).filter((name) => name !== undefined);
      await untilReadiness("503 storage failed: waiting for its disk");
      await failing.heal();
      await untilReadiness("200 ready");
      await writeAll(2);
      const pids = [deployed.pid, ...descendantsOf(deployed.pid)];
      for (const pid of pids) kill(pid, "SIGSTOP");
      await until("the processes are stopped", () => pids.every((pid) => stateOf(pid) === "T"));
      await failing.cut();
      for (const pid of pids) kill(pid, "SIGKILL");
      await deployed.kill();
      await until("the processes have ended", () => !pids.some(isAlive));
      deployed.start();
      await deployed.ready();
      const lost: string[] = [];
      for (const [name, isStored] of checks) if (!(await whenAvailable(isStored))) lost.push(name);
      report(
        `${what} fail under every kind of write, ${workers} workers, then a power cut`,
        undefined,
        `${checks.size} acknowledged, lost ${lost.length}; refused with ${[...reasons].sort().join(", ")}`,
      );
      expect({ acknowledged, lost }).toEqual({ acknowledged: [], lost: [] });
    },
    240_000,
  );
});
