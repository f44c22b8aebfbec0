/** GET /metrics, and what is said of it in the documentation and shown on the dashboard. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect } from "vitest";
import { ALL_DOORS } from "../api/doors.js";
import { bytes, clientsOf, refusal } from "../api/support.js";
import { Code } from "@connectrpc/connect";
import { serviceTest } from "../support/fixtures.js";
import { startNatsServer } from "../support/nats-server.js";
import { scrape } from "../support/metrics.js";
import { freshName, startTestService } from "../support/service.js";

const ROOT = join(import.meta.dirname, "../..");
/** Label of metrics by the beginning of a door's name. */
const DOORS: Readonly<Record<string, string>> = {
  gRPC: "grpc",
  "gRPC-Web": "grpc-web",
  Connect: "connect",
  REST: "rest",
};

const settings = { "metrics-per-bucket": "true", "ready-timeout-ms": "20000" };
const it = serviceTest({ ...settings, "metrics-port": "0" });
it.beforeAll(async ({ service }) => {
  // So that each metric has something to show from the first time on: sizes are asked for only now and then.
  const [first] = ALL_DOORS;
  if (first !== undefined) await clientsOf(first, service.url).buckets.createBucket({ name: "first" });
});

describe.each(ALL_DOORS.map((door) => ({ door, label: DOORS[door.name.split(/[ ,]/)[0] ?? ""] ?? "" })))(
  "calls by $door.name",
  ({ door, label }) => {
    it("are counted by method, door and code, with their time and bytes", async ({ service }) => {
      const { buckets, kv } = clientsOf(door, service.url);
      const bucket = freshName();
      const before = await scrape(service.url);
      await buckets.createBucket({ name: bucket });
      const value = bytes("x".repeat(2_000));
      for (let index = 0; index < 5; index++) await kv.put({ bucket, key: `k${index}`, value });
      await kv.get({ bucket, key: "k1" });
      await kv.get({ bucket, key: "none" }).catch(() => undefined);
      const after = await scrape(service.url);
      const grown = (name: string, method: string, labels: Record<string, string> = {}): number => {
        const all = { method: `ironflow.kv.v1.${method}`, door: label, ...labels };
        return (after.value(name, all) ?? 0) - (before.value(name, all) ?? 0);
      };
      expect(grown("ironflow_calls_total", "KeyValueService/Put", { code: "ok" })).toBe(5);
      expect(grown("ironflow_calls_total", "KeyValueService/Get", { code: "ok" })).toBe(1);
      expect(grown("ironflow_calls_total", "KeyValueService/Get", { code: "not_found" })).toBe(1);
      expect(grown("ironflow_calls_total", "BucketService/CreateBucket")).toBe(1);
      expect(grown("ironflow_call_duration_seconds_count", "KeyValueService/Put")).toBe(5);
      expect(grown("ironflow_call_duration_seconds_bucket", "KeyValueService/Put", { le: "+Inf" })).toBe(5);
      expect(grown("ironflow_call_duration_seconds_sum", "KeyValueService/Put")).toBeGreaterThan(0);
      expect(grown("ironflow_received_bytes_total", "KeyValueService/Put")).toBeGreaterThanOrEqual(5 * 2_000);
      expect(grown("ironflow_sent_bytes_total", "KeyValueService/Get")).toBeGreaterThan(20);
      expect(grown("ironflow_calls_in_flight", "KeyValueService/Put")).toBe(0);
    });

    it("are in flight while they stream", async ({ service }) => {
      const { buckets, kv } = clientsOf(door, service.url);
      const bucket = freshName();
      await buckets.createBucket({ name: bucket });
      const open = async (): Promise<number> => {
        const { value } = await scrape(service.url);
        return value("ironflow_calls_in_flight", { method: "ironflow.kv.v1.KeyValueService/Watch" }) ?? 0;
      };
      const before = await open();
      const abort = new AbortController();
      const watch = kv.watch({ bucket }, { signal: abort.signal })[Symbol.asyncIterator]();
      await kv.put({ bucket, key: "k", value: bytes("v") });
      await watch.next();
      expect(await open()).toBe(before + 1);
      expect((await scrape(service.url)).value("ironflow_watches")).toBeGreaterThanOrEqual(1);
      const drained = (async () => {
        while ((await watch.next()).done !== true);
      })().catch(() => undefined);
      abort.abort();
      await drained;
      await expect.poll(open).toBe(before);
    });
  },
);

describe("the metrics", () => {
  it("have the size of the store, in total and by bucket", async () => {
    const other = await startTestService({ "metrics-per-bucket": "true", "ready-timeout-ms": "20000" });
    const [grpc] = ALL_DOORS;
    if (grpc === undefined) throw new Error("no doors");
    const { buckets, kv } = clientsOf(grpc, other.url);
    await buckets.createBucket({ name: "sized", history: 5 });
    for (let index = 0; index < 3; index++) await kv.put({ bucket: "sized", key: "k", value: bytes("v") });
    const { value } = await scrape(other.url);
    expect(value("ironflow_store_buckets")).toBe(1);
    expect(value("ironflow_store_entries")).toBe(3);
    expect(value("ironflow_store_bytes")).toBeGreaterThan(3);
    expect(value("ironflow_bucket_entries", { bucket: "sized" })).toBe(3);
    expect(value("ironflow_bucket_bytes", { bucket: "sized" })).toBe(value("ironflow_store_bytes"));
    expect(value("ironflow_nats_connected")).toBe(1);
    expect(value("ironflow_connections")).toBeGreaterThan(0);
    await other.remove();
  });

  it("have the keys and the memory of the key indexes, and how often one was loaded", async () => {
    const other = await startTestService();
    const [grpc] = ALL_DOORS;
    if (grpc === undefined) throw new Error("no doors");
    const { buckets, kv } = clientsOf(grpc, other.url);
    const names = ["one", "two"];
    for (const bucket of names) {
      await buckets.createBucket({ name: bucket });
      for (let index = 0; index < 3; index++) await kv.put({ bucket, key: `k${index}`, value: bytes("v") });
    }
    expect((await scrape(other.url)).value("ironflow_key_index_keys")).toBe(0);
    for (const bucket of names) await kv.listKeys({ bucket });
    const { value } = await scrape(other.url);
    expect(value("ironflow_key_indexes")).toBe(2);
    expect(value("ironflow_key_index_keys")).toBe(6);
    expect(value("ironflow_key_index_bytes")).toBeGreaterThan(6);
    expect(value("ironflow_key_index_loads_total")).toBe(2);
    expect(value("ironflow_key_index_waits_total")).toBeGreaterThanOrEqual(0);
    await other.remove();
  });

  it("never have a key or a value in them", async ({ service }) => {
    const [grpc] = ALL_DOORS;
    if (grpc === undefined) throw new Error("no doors");
    const { buckets, kv } = clientsOf(grpc, service.url);
    await buckets.createBucket({ name: "secrets" });
    await kv.put({ bucket: "secrets", key: "the-secret-key", value: bytes("the-secret-value") });
    await refusal(
      kv.get({ bucket: "secrets", key: "the-secret-key\n" }),
      Code.InvalidArgument,
      "invalid_argument",
    );
    const { text } = await scrape(service.url);
    expect(text).not.toContain("the-secret");
  });

  it("are on a port of their own too, and nothing else is", async ({ service }) => {
    const own = `http://127.0.0.1:${service.metricsPort ?? 0}`;
    expect((await scrape(own)).names).toEqual((await scrape(service.url)).names);
    expect((await fetch(`${own}/readyz`)).status).toBe(404);
    expect((await fetch(`${own}/metrics`, { method: "POST" })).status).toBe(405);
  });

  it("go on, without sizes, when the storage is away", async () => {
    const nats = await startNatsServer();
    const away = await startTestService({ "nats-url": nats.url });
    expect((await scrape(away.url)).value("ironflow_nats_connected")).toBe(1);
    await nats.stop();
    const lost = async (): Promise<unknown> => (await scrape(away.url)).value("ironflow_nats_connected");
    await expect.poll(lost).toBe(0);
    await nats.start();
    await expect.poll(lost).toBe(1);
    const { value } = await scrape(away.url);
    for (const connection of ["calls", "bulk"])
      for (const what of ["disconnects", "reconnects"])
        expect(value(`ironflow_nats_${what}_total`, { connection }), `${what} ${connection}`).toBe(1);
    await away.remove();
    await nats.remove();
  });
});

describe("with API keys", () => {
  it("are for keys with admin on all buckets alone", async () => {
    const admin = "correct-horse-battery";
    const locked = await startTestService({ "api-key": admin });
    const status = async (key: string | undefined): Promise<number> => {
      const headers: Record<string, string> = key === undefined ? {} : { authorization: `Bearer ${key}` };
      return (await fetch(`${locked.url}/metrics`, { headers })).status;
    };
    const made = await fetch(`${locked.url}/ironflow.kv.v1.ApiKeyService/CreateApiKey`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${admin}` },
      body: JSON.stringify({ name: "a reader", scopes: [{ accesses: ["ACCESS_READ"], buckets: "*" }] }),
    });
    const { secret } = (await made.json()) as { secret: string };
    expect([
      await status(undefined),
      await status("no-such-key-at-all"),
      await status(secret),
      await status(admin),
    ]).toEqual([401, 401, 403, 200]);
    await locked.remove();
  });
});

describe("what is said of the metrics", () => {
  it("in docs/operations.md is each of them, with its labels", async ({ service }) => {
    const doc = readFileSync(join(ROOT, "docs/operations.md"), "utf8");
    const documented = new Map(
      [...doc.matchAll(/^\| `(ironflow_\w+)` +\|([^|]*)\|/gm)].map(([, name = "", labels = ""]) => [
        name,
        [...labels.matchAll(/`(\w+)`/g)].map(([, label = ""]) => label).sort(),
      ]),
    );
    const { names, text } = await scrape(service.url);
    expect([...documented.keys()].sort()).toEqual(
      [...names].filter((name) => name.startsWith("ironflow_")).sort(),
    );
    for (const [name, labels] of documented) {
      const [, sample = ""] = new RegExp(`^${name}(?:_count)?\\{(.*)\\} `, "m").exec(text) ?? [];
      expect([...sample.matchAll(/(\w+)="/g)].map(([, label = ""]) => label).sort(), name).toEqual(labels);
    }
    const others = [...doc.matchAll(/\b(?:process|nodejs)_[a-z0-9_]+[a-z0-9]\b/g)].map(([name]) => name);
    expect(others.filter((name) => !names.has(name))).toEqual([]);
  });

  it("on the dashboard is true: each query asks for metrics and labels that are there", async ({
    service,
  }) => {
    const dashboard = JSON.parse(readFileSync(join(ROOT, "deploy/grafana-dashboard.json"), "utf8")) as {
      panels: { title: string; targets?: { expr: string }[] }[];
    };
    const { names, text } = await scrape(service.url);
    const queries = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
    expect(queries.length).toBeGreaterThan(20);
    const used = new Set<string>();
    for (const query of queries) {
      for (const [, name = "", selector = ""] of query.matchAll(/\b([a-z]+_[a-z0-9_]+)\{([^}]*)\}/g)) {
        const declared = name.replace(/_(bucket|sum|count)$/, "");
        expect(names.has(name) ? name : declared, query).toSatisfy((found: string) => names.has(found));
        used.add(declared);
        const labels = [...selector.matchAll(/(\w+)(?:=~|!=|=)/g)].map(([, label = ""]) => label);
        // Prometheus adds these two itself.
        for (const label of labels.filter((one) => one !== "job" && one !== "instance")) {
          expect(text, query).toMatch(new RegExp(`^${name}\\{.*\\b${label}="`, "m"));
        }
      }
      const grouped = [...query.matchAll(/by \(([^)]*)\)/g)].flatMap(([, list = ""]) => list.split(/, */));
      for (const label of grouped)
        expect(["le", "method", "door", "code", "instance", "kind"]).toContain(label);
    }
    // What is not shown by bucket is shown.
    const missing = [...names].filter((name) => /^ironflow_(?!bucket_)/.test(name) && !used.has(name));
    expect(missing).toEqual([]);
  });
});
