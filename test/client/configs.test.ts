/** The SDK's and the command line's configs: conditions, watches, environments, and the scope that they need. */
import { expect } from "vitest";
import {
  type Configs,
  createClient,
  KvConflictError,
  KvKeyExistsError,
  KvNotFoundError,
  KvPermissionDeniedError,
} from "@ironflow-kv/client";
import { run } from "../cli/support.js";
import { serviceTest } from "../support/fixtures.js";
import { startTestService } from "../support/service.js";
import { refusal } from "./support.js";

const apiKey = "the-root-key-of-tests";

const it = serviceTest({ "api-key": apiKey, "configs-max": "3" }).extend(
  "configs",
  { scope: "file" },
  ({ service }): Configs => createClient({ serverUrl: service.url, apiKey }).configs(),
);

it("writes, merges, lists and watches configs", async ({ configs }) => {
  const { revision } = await configs.set("app", { a: 1, b: { c: 2 } });
  expect(await configs.get("app")).toMatchObject({ name: "app", revision, data: { a: 1, b: { c: 2 } } });
  await refusal(configs.set("app", {}, { ifAbsent: true }), KvKeyExistsError, { currentRevision: revision });
  await refusal(configs.patch("app", {}, { ifRevision: 999 }), KvConflictError, {
    currentRevision: revision,
  });
  await refusal(configs.get("none"), KvNotFoundError, { reason: "key_not_found" });
  const states: unknown[] = [];
  for await (const { data } of configs.watch("app")) {
    states.push(data);
    if (states.length === 1) await configs.patch("app", { a: 3 }, { ifRevision: revision });
    if (states.length === 2) await configs.delete("app");
    if (states.length === 3) break;
  }
  expect(states).toEqual([{ a: 1, b: { c: 2 } }, { a: 3, b: { c: 2 } }, undefined]);
});

it("loses no member when many clients merge at once", async ({ configs }) => {
  await configs.set("merged", {});
  await Promise.all(Array.from({ length: 8 }, (_, n) => configs.patch("merged", { [`k${n}`]: n })));
  expect(Object.keys((await configs.get("merged")).data)).toHaveLength(8);
  await configs.delete("merged");
});

it("keeps environments apart, and their number of configs limited", async ({ service, configs }) => {
  const staging = createClient({ serverUrl: service.url, apiKey, environment: "staging" }).configs();
  for (const name of ["one", "two", "three"]) await staging.set(name, {});
  expect((await staging.list()).map(({ name }) => name)).toEqual(["one", "three", "two"]);
  await expect(staging.set("four", {})).rejects.toThrow(/3 configs/);
  await staging.set("one", { again: true });
  expect(await configs.list()).toEqual([]);
});

it("keeps to the limit of configs when they are created at once", async ({ service }) => {
  const crowded = createClient({ serverUrl: service.url, apiKey, environment: "crowded" }).configs();
  const names = Array.from({ length: 12 }, (_, n) => `c${n}`);
  const outcomes = await Promise.allSettled(names.map((name) => crowded.set(name, {})));
  expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(3);
  expect(await crowded.list()).toHaveLength(3);
});

it("keeps to the limit of environments with configs, which a watch also counts towards", async () => {
  const limited = await startTestService({ "config-environments-max": "2" });
  try {
    const of = (environment: string): Configs =>
      createClient({ serverUrl: limited.url, environment }).configs();
    const watched = of("watched").watch("app");
    const first = watched.next();
    await of("watched").set("app", { a: 1 });
    expect((await first).value).toMatchObject({ data: { a: 1 } });
    await watched.return(undefined);
    const environments = Array.from({ length: 6 }, (_, n) => `env-${n}`);
    const outcomes = await Promise.allSettled(environments.map((name) => of(name).set("app", {})));
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    await expect(of("another").watch("app").next()).rejects.toThrow("There are 2 environments with configs");
    await of("watched").set("other", {});
    // Reads leave nothing behind.
    expect(await of("another").list()).toEqual([]);
    await refusal(of("another").get("app"), KvNotFoundError);
    await of("another").delete("app");
  } finally {
    await limited.remove();
  }
});

it("needs the scope of its access on SYS_config, in its environment", async ({ service }) => {
  const keys = createClient({ serverUrl: service.url, apiKey }).apiKeys();
  const scopes = [{ accesses: ["read"] as const, buckets: "SYS_config" }];
  const { secret } = await keys.create({ name: "reader", scopes });
  const reader = createClient({ serverUrl: service.url, apiKey: secret }).configs();
  expect(await reader.list()).toEqual([]);
  await refusal(reader.set("x", {}), KvPermissionDeniedError);
  await refusal(reader.watch("x").next(), KvPermissionDeniedError);
  const other = createClient({ serverUrl: service.url, apiKey: secret, environment: "staging" }).configs();
  await refusal(other.list(), KvPermissionDeniedError);
});

it("has its verbs on the command line", async ({ service }) => {
  const env = { IRONFLOW_SERVER: service.url, IRONFLOW_API_KEY: apiKey };
  const cli = (...args: string[]) => run(["config", ...args], { env });
  expect(await cli("set", "cli", '{"a":1}', "--if-absent")).toMatchObject({ exitCode: 0, stderr: "" });
  expect((await cli("set", "cli", "[]")).exitCode).toBe(2);
  expect((await cli("patch", "cli", '{"b":2}', "--if-revision", "999")).exitCode).not.toBe(0);
  expect((await cli("patch", "cli", '{"b":2}', "--json")).stdout).toMatch(
    /^\{"name":"cli","revision":\d+\}\n$/,
  );
  expect(JSON.parse((await cli("get", "cli")).stdout)).toEqual({ a: 1, b: 2 });
  expect((await cli("ls")).stdout).toMatch(/^cli +\d+ /m);
  expect(await cli("rm", "cli")).toMatchObject({ exitCode: 0, stdout: "" });
  expect((await cli("get", "cli")).exitCode).toBe(3);
});
