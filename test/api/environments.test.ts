/** Environments: namespaces of buckets, apart from each other through every door. */
import { Code } from "@connectrpc/connect";
import { createClient } from "@ironflow-kv/client";
import { describe, expect, it as plainIt } from "vitest";
import { serviceTest } from "../support/fixtures.js";
import { send1 } from "../support/http-client.js";
import { freshName, startTestService } from "../support/service.js";
import { WatchClient } from "../support/watch-client.js";
import { ALL_DOORS } from "./doors.js";
import { bytes, clientsOf, line, refusal, take, text } from "./support.js";

const it = serviceTest();
const STAGING = { headers: { "x-ironflow-environment": "staging" } };
const BUCKETS = "/api/v1/kv/buckets";

describe.each(ALL_DOORS.filter((door) => door.isWholeContract))("environments over $name", (door) => {
  it("keeps buckets with the same name apart: keys, lists, watches and deletes", async ({ service }) => {
    const { buckets, kv } = clientsOf(door, service.url);
    const bucket = freshName();
    await buckets.createBucket({ name: bucket });
    expect((await buckets.createBucket({ name: bucket }, STAGING)).bucket?.name).toBe(bucket);
    await kv.put({ bucket, key: "k", value: bytes("default") });
    const watched = take(kv.watch({ bucket }, STAGING), 2);
    await kv.put({ bucket, key: "k", value: bytes("staging") }, STAGING);
    await kv.put({ bucket, key: "only", value: bytes("staging") }, STAGING);
    expect(text((await kv.get({ bucket, key: "k" })).entry?.value)).toBe("default");
    expect(text((await kv.get({ bucket, key: "k" }, STAGING)).entry?.value)).toBe("staging");
    expect((await kv.listKeys({ bucket })).keys).toEqual(["k"]);
    expect((await kv.listKeys({ bucket }, STAGING)).keys).toEqual(["k", "only"]);
    expect((await kv.getHistory({ bucket, key: "only" }, STAGING)).entries).toHaveLength(1);
    for (const event of (await watched).map(line)) expect(event).toMatch(/^(end|put \w+=staging) @/);
    await refusal(kv.get({ bucket, key: "only" }), Code.NotFound, "key_not_found");

    await buckets.deleteBucket({ bucket });
    expect((await kv.listKeys({ bucket }, STAGING)).keys).toEqual(["k", "only"]);
    const detail = await refusal(kv.get({ bucket, key: "k" }), Code.NotFound, "bucket_not_found");
    expect(detail?.bucket).toBe(bucket);
    await buckets.deleteBucket({ bucket }, STAGING);
  });

  it("lists the buckets of the call's environment only, page by page", async ({ service }) => {
    const { buckets } = clientsOf(door, service.url);
    const headers = { "x-ironflow-environment": freshName().replaceAll("_", "-").slice(0, 32) };
    const names = [freshName(), freshName(), freshName()].sort();
    for (const name of names) await buckets.createBucket({ name }, { headers });
    const listed: string[] = [];
    for (let pageToken = ""; ;) {
      const page = await buckets.listBuckets({ limit: 2, pageToken }, { headers });
      listed.push(...page.buckets.map(({ name }) => name));
      pageToken = page.nextPageToken;
      if (pageToken === "") break;
    }
    expect(listed).toEqual(names);
    const others = (await buckets.listBuckets({})).buckets.map(({ name }) => name);
    expect(others.filter((name) => names.includes(name))).toEqual([]);
    const { environments } = await buckets.listEnvironments({});
    expect(environments).toContain("default");
    expect(environments).toContain(headers["x-ironflow-environment"]);
  });

  it("names the default environment as well as none", async ({ service }) => {
    const { buckets } = clientsOf(door, service.url);
    const name = freshName();
    await buckets.createBucket({ name }, { headers: { "x-ironflow-environment": "default" } });
    expect((await buckets.getBucket({ bucket: name })).bucket?.name).toBe(name);
  });

  it.for(["", "a_b", "a/b", "ä", "x".repeat(33), "a, b", "*"])(
    "refuses a malformed environment: %j",
    async (environment, { service }) => {
      const headers = { "x-ironflow-environment": encodeURIComponent(environment).replaceAll("%2F", "/") };
      const call = clientsOf(door, service.url).buckets.listBuckets({}, { headers });
      await refusal(call, Code.InvalidArgument, "invalid_argument");
    },
  );

  it.for(["staging/x", "/x", "default/x", "x/"])(
    "refuses a bucket's name that names an environment: %j",
    async (bucket, { service }) => {
      const { buckets, kv } = clientsOf(door, service.url);
      for (const options of [{}, STAGING]) {
        await refusal(
          buckets.createBucket({ name: bucket }, options),
          Code.InvalidArgument,
          "invalid_argument",
        );
        await refusal(kv.get({ bucket, key: "k" }, options), Code.InvalidArgument, "invalid_argument");
        await refusal(kv.listKeys({ bucket }, options), Code.InvalidArgument, "invalid_argument");
        await refusal(take(kv.watch({ bucket }, options), 1), Code.InvalidArgument, "invalid_argument");
      }
    },
  );

  it("reserves the same names in every environment", async ({ service }) => {
    const { buckets } = clientsOf(door, service.url);
    await refusal(
      buckets.createBucket({ name: "SYS_api_keys" }, STAGING),
      Code.InvalidArgument,
      "reserved_name",
    );
  });
});

it("REST takes the environment from the header or from env, and lists the environments", async ({
  service,
}) => {
  const bucket = freshName();
  const headers = { "x-ironflow-environment": "rest-env" };
  await send1(service.url, "POST", BUCKETS, { body: JSON.stringify({ name: bucket }), headers });
  await send1(service.url, "PUT", `${BUCKETS}/${bucket}/keys/k?env=rest-env`, { body: "v" });
  expect((await send1(service.url, "GET", `${BUCKETS}/${bucket}/keys/k`, { headers })).json).toMatchObject({
    key: "k",
  });
  expect((await send1(service.url, "GET", `${BUCKETS}/${bucket}/keys?limit=1`, { headers })).json).toEqual({
    keys: ["k"],
    count: 1,
  });
  expect((await send1(service.url, "GET", `${BUCKETS}/${bucket}/keys/k`)).status).toBe(404);
  expect((await send1(service.url, "GET", "/api/v1/environments")).json).toContainEqual({
    id: "rest-env",
    name: "rest-env",
  });
  const watch = await WatchClient.open(service.url, `${BUCKETS}/${bucket}/watch?env=rest-env`);
  expect(await watch.have(1)).toMatchObject([{ type: "kv_update", key: "k", bucket }]);
  watch.socket.close();
});

plainIt("a key reaches the environments that its scopes name", async () => {
  const adminKey = "0123456789abcdef";
  const service = await startTestService({ "api-key": adminKey });
  try {
    const open = (apiKey: string, environment?: string) =>
      createClient({ serverUrl: service.url, apiKey, environment });
    const admin = open(adminKey);
    for (const environment of ["default", "staging", "test"])
      await open(adminKey, environment).kv().createBucket({ name: "b" });
    const secretOf = async (...buckets: string[]): Promise<string> => {
      const scopes = buckets.map((glob) => ({
        accesses: ["read", "write", "admin"] as const,
        buckets: glob,
      }));
      return (await admin.apiKeys().create({ name: "k", scopes })).secret;
    };
    const reach = async (secret: string): Promise<string[]> => {
      const reached: string[] = [];
      for (const environment of ["default", "staging", "test"]) {
        const kv = open(secret, environment).kv();
        const isReached = await kv
          .bucket("b")
          .put("k", "v")
          .then(
            () => true,
            () => false,
          );
        expect((await kv.listBuckets()).map(({ name }) => name)).toEqual(isReached ? ["b"] : []);
        if (isReached) reached.push(environment);
      }
      return reached;
    };
    expect(await reach(await secretOf("*"))).toEqual(["default"]);
    expect(await reach(await secretOf("staging/*"))).toEqual(["staging"]);
    expect(await reach(await secretOf("*/b"))).toEqual(["default", "staging", "test"]);
    expect(await reach(await secretOf("s*/b", "a"))).toEqual(["staging"]);
    const manager = await secretOf("*");
    await expect(
      open(manager)
        .apiKeys()
        .create({ name: "k", scopes: [{ accesses: ["read"], buckets: "staging/*" }] }),
    ).rejects.toThrow(/more than your own/);
    expect(
      await open(await secretOf("staging/*"))
        .kv()
        .listEnvironments(),
    ).toEqual(["default", "staging"]);
  } finally {
    await service.remove();
  }
});
