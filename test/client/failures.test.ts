/** What the SDK does when calls fail: typed errors, retries, time limits, aborts. */
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { ErrorDetailSchema } from "../../gen/ironflow/kv/v1/types_pb.js";
import { kvErrorOf } from "../../packages/client/src/failure.js";
import * as sdk from "@ironflow-kv/client";
import { retryDelayMs, retryPolicyOf } from "../../packages/client/src/retry.js";
import { KV_ERROR_KINDS, type KvErrorKind } from "../../src/kv/errors.js";
import { CODE_BY_KIND } from "../../src/service/errors.js";
import { freshName, startTestService, type TestService } from "../support/service.js";
import { CuttableProxy } from "./cuttable-proxy.js";
import { CountingTransport, refusal } from "./support.js";
import { WAIT, until } from "../support/until.js";

const { createClient } = sdk;
const RIGHT_KEY = "the-right-key-of-tests";

describe("errors of the service", () => {
  const CLASS_BY_KIND: Readonly<Record<KvErrorKind, typeof sdk.KvError>> = {
    invalid_argument: sdk.KvInvalidArgumentError,
    reserved_name: sdk.KvInvalidArgumentError,
    invalid_update_mask: sdk.KvInvalidArgumentError,
    bucket_not_found: sdk.KvNotFoundError,
    key_not_found: sdk.KvNotFoundError,
    api_key_not_found: sdk.KvNotFoundError,
    bucket_exists: sdk.KvBucketExistsError,
    key_exists: sdk.KvKeyExistsError,
    revision_mismatch: sdk.KvConflictError,
    idempotency_key_reused: sdk.KvError,
    ttl_not_supported: sdk.KvError,
    commit_unsupported: sdk.KvError,
    revision_compacted: sdk.KvOutOfRangeError,
    revision_in_future: sdk.KvOutOfRangeError,
    bucket_full: sdk.KvResourceExhaustedError,
    value_too_large: sdk.KvResourceExhaustedError,
    body_too_large: sdk.KvResourceExhaustedError,
    answer_too_large: sdk.KvResourceExhaustedError,
    storage_exhausted: sdk.KvResourceExhaustedError,
    too_many_watches: sdk.KvResourceExhaustedError,
    slow_watcher: sdk.KvResourceExhaustedError,
    rate_limited: sdk.KvResourceExhaustedError,
    unauthenticated: sdk.KvUnauthenticatedError,
    permission_denied: sdk.KvPermissionDeniedError,
    unavailable: sdk.KvUnavailableError,
    shutting_down: sdk.KvUnavailableError,
    deadline_exceeded: sdk.KvTimeoutError,
    canceled: sdk.KvError,
    outcome_unknown: sdk.KvUnknownOutcomeError,
    unimplemented: sdk.KvError,
    internal: sdk.KvError,
  };
  const RETRYABLE = new Set<KvErrorKind>([
    "unavailable",
    "shutting_down",
    "deadline_exceeded",
    "rate_limited",
    "too_many_watches",
    "slow_watcher",
  ]);

  it.each(KV_ERROR_KINDS)("%s has its class, its facts and its advice", (kind) => {
    const detail = create(ErrorDetailSchema, {
      reason: kind,
      bucket: "b",
      key: "k",
      revision: 7n,
      retryAfter: { seconds: 1n, nanos: 500_000_000 },
    });
    const sent = new ConnectError("A sentence.", CODE_BY_KIND[kind], undefined, [
      { desc: ErrorDetailSchema, value: detail },
    ]);
    const error = kvErrorOf(sent, { isIdempotent: false });
    expect(Object.getPrototypeOf(error)).toBe(CLASS_BY_KIND[kind].prototype);
    expect(error.name).toBe(CLASS_BY_KIND[kind].name);
    expect(error.message).toBe("A sentence.");
    expect(error).toMatchObject({
      reason: kind,
      bucket: "b",
      key: "k",
      revision: 7n,
      retryAfterMs: 1_500,
      retryable: RETRYABLE.has(kind),
    });
  });

  it.each<[Code, typeof sdk.KvError, typeof sdk.KvError]>([
    [Code.Unauthenticated, sdk.KvUnauthenticatedError, sdk.KvUnauthenticatedError],
    [Code.Unimplemented, sdk.KvError, sdk.KvError],
    [Code.Unknown, sdk.KvError, sdk.KvUnknownOutcomeError],
    [Code.Unavailable, sdk.KvUnavailableError, sdk.KvUnknownOutcomeError],
    [Code.Aborted, sdk.KvUnavailableError, sdk.KvUnknownOutcomeError],
    [Code.DeadlineExceeded, sdk.KvTimeoutError, sdk.KvUnknownOutcomeError],
  ])("code %s from something in between is judged by whether the call was a read", (code, read, write) => {
    const error = new ConnectError("HTTP 503", code);
    expect(Object.getPrototypeOf(kvErrorOf(error, { isIdempotent: true }))).toBe(read.prototype);
    expect(Object.getPrototypeOf(kvErrorOf(error, { isIdempotent: false }))).toBe(write.prototype);
  });
});

describe("pauses", () => {
  it("grow twofold up to a limit, and never undercut the server's advice", () => {
    vi.spyOn(Math, "random").mockReturnValue(1);
    const policy = retryPolicyOf({ baseDelayMs: 100, maxDelayMs: 500 });
    expect([1, 2, 3, 4, 9].map((failures) => retryDelayMs(policy, failures, undefined))).toEqual([
      100, 200, 400, 500, 500,
    ]);
    vi.mocked(Math.random).mockReturnValue(0);
    expect(retryDelayMs(policy, 1, 1_500)).toBe(1_500);
    vi.restoreAllMocks();
  });
});

describe("options", () => {
  it.each<[string, sdk.ClientOptions]>([
    ["a server without a scheme", { serverUrl: "localhost:9123" }],
    ["a server of another scheme", { serverUrl: "nats://localhost" }],
    ["a server with a password", { serverUrl: "http://a:b@localhost" }],
    ["a server with a query", { serverUrl: "http://localhost/?a=1" }],
    ["no time", { timeoutMs: 0 }],
    ["no attempts", { retry: { attempts: 0 } }],
  ])("refuses %s", (_, options) => {
    expect(() => createClient(options)).toThrow(/serverUrl|timeoutMs|retry/);
  });

  it("does not show a malformed API key", () => {
    const make = (): unknown => createClient({ apiKey: "secret\n" });
    expect(make).toThrow(/apiKey/);
    expect(make).not.toThrow(/secret/);
  });
});

describe("API keys", () => {
  let service: TestService;
  beforeAll(async () => {
    service = await startTestService({ "api-key": RIGHT_KEY });
  });
  afterAll(() => service.remove());
  afterEach(() => vi.unstubAllEnvs());

  const open = (apiKey?: string): sdk.KeyValue => createClient({ serverUrl: service.url, apiKey }).kv();

  it("sends the one given, else the environment's", async () => {
    vi.stubEnv("IRONFLOW_API_KEY", RIGHT_KEY);
    expect(await open(RIGHT_KEY).listBuckets()).toEqual([]);
    expect(await open().listBuckets()).toEqual([]);
    await refusal(open("wrong").listBuckets(), sdk.KvUnauthenticatedError, { reason: "unauthenticated" });
    vi.stubEnv("IRONFLOW_API_KEY", "");
    await refusal(open().listBuckets(), sdk.KvUnauthenticatedError);
  });

  it("does not go on with a watch that is refused", async () => {
    await refusal(open("wrong").bucket("b").watch().next(), sdk.KvUnauthenticatedError);
  });
});

describe("connections that fail", () => {
  let service: TestService;
  let proxy: CuttableProxy;
  let direct: sdk.Bucket;
  let counting: CountingTransport;

  beforeAll(async () => {
    service = await startTestService();
  });
  beforeEach(async () => {
    proxy = await CuttableProxy.to(service);
    counting = new CountingTransport(sdk.createTransport({ serverUrl: proxy.url }));
    const kv = createClient({ serverUrl: service.url }).kv();
    direct = kv.bucket((await kv.createBucket({ name: freshName(), history: 10 })).name);
  });
  afterEach(() => proxy.refuse());
  afterAll(() => service.remove());

  function open(options: sdk.ClientOptions = {}): sdk.Bucket {
    const retry = { baseDelayMs: 5, maxDelayMs: 20, attempts: 1_000 };
    const client = createClient({ transport: counting, retry, ...options });
    return client.kv().bucket(direct.name);
  }

  it("tries a write again while the service can't be reached, and applies it once", async () => {
    await proxy.refuse();
    const write = open().put("k", "v");
    await counting.untilFailures(3);
    await proxy.accept();
    await write;
    expect(await direct.history("k")).toHaveLength(1);
  });

  it("writes the bytes as they were when the call was made, also when it is tried again", async () => {
    await proxy.refuse();
    const buffer = Buffer.from("before");
    const write = open().put("k", buffer);
    await counting.untilFailures(1);
    buffer.fill("x");
    await proxy.accept();
    await write;
    expect((await direct.get("k")).text()).toBe("before");
  });

  it("tries a read again whose answer was cut off", async () => {
    await direct.put("k", "v");
    proxy.holdAnswers();
    const read = open().get("k");
    await vi.waitUntil(() => proxy.connections > 0, WAIT);
    proxy.cut();
    await counting.untilFailures(1);
    proxy.passAnswers();
    proxy.cut();
    expect((await read).text()).toBe("v");
  });

  const OUTCOME_UNKNOWN = { code: "unknown", reason: "outcome_unknown", retryable: false, key: "k" };
  /** Resolves when the key was written. */
  async function written(): Promise<void> {
    for await (const event of direct.watch("k")) if (event.type === "put") break;
  }

  it("does not repeat a write that was cut off where it is told not to, and says that its outcome is not known", async () => {
    proxy.holdAnswers();
    const put = open({ retry: false }).put("k", "v");
    const write = refusal(put, sdk.KvUnknownOutcomeError, { ...OUTCOME_UNKNOWN, bucket: direct.name });
    await written();
    proxy.cut();
    await write;
    expect(counting.calls).toBe(1);
    expect(await direct.history("k")).toHaveLength(1);
  });

  const writes: [string, string[], (bucket: sdk.Bucket, revision: bigint) => Promise<sdk.WriteResult>][] = [
    ["put", ["put", "put"], (bucket) => bucket.put("k", "new")],
    ["update", ["put", "put"], (bucket, revision) => bucket.update("k", "new", revision)],
    ["delete", ["put", "delete"], (bucket) => bucket.delete("k")],
    ["purge", ["purge"], (bucket) => bucket.purge("k")],
  ];

  it.each(writes)(
    "sends a write again that was cut off after it was applied, and it is applied once: %s",
    async (_, operations, call) => {
      const { revision } = await direct.put("k", "old");
      proxy.holdAnswers();
      const result = call(open(), revision);
      await until("the write is applied", async () => {
        return (await direct.history("k")).at(-1)?.revision !== revision;
      });
      proxy.cut();
      await counting.untilFailures(1);
      proxy.passAnswers();
      proxy.cut();
      expect(await result).toEqual({ revision: revision + 1n });
      expect((await direct.history("k")).map((entry) => entry.operation)).toEqual(operations);
    },
  );

  it("sends a create again that was cut off after it was applied, and leaves what somebody wrote since", async () => {
    proxy.holdAnswers();
    const result = open().create("k", "mine");
    await written();
    await direct.put("k", "theirs");
    proxy.cut();
    await counting.untilFailures(1);
    proxy.passAnswers();
    proxy.cut();
    expect(await result).toEqual({ revision: 1n });
    expect((await direct.get("k")).text()).toBe("theirs");
  });

  it("says that the outcome is not known where a write was cut off and the service can't be reached after that", async () => {
    proxy.holdAnswers();
    const retry = { attempts: 3, baseDelayMs: 1 };
    const write = refusal(open({ retry }).put("k", "v"), sdk.KvUnknownOutcomeError, OUTCOME_UNKNOWN);
    await written();
    await proxy.refuse();
    await write;
    expect(counting.calls).toBe(3);
  });

  it("takes an idempotency key for writes that are repeated by others", async () => {
    const options = { idempotencyKey: "order-7" };
    const first = await direct.put("k", "v", options);
    expect(await open().put("k", "v", options)).toEqual(first);
    await refusal(open().put("k", "w", options), sdk.KvError, {
      code: "failed_precondition",
      reason: "idempotency_key_reused",
      revision: first.revision,
    });
  });

  it("stops after the configured attempts", async () => {
    await proxy.refuse();
    const error = await refusal(
      open({ retry: { attempts: 3, baseDelayMs: 1 } }).get("k"),
      sdk.KvUnavailableError,
      { reason: "connection_failed", retryable: true },
    );
    expect(error.message).toMatch(/ECONNREFUSED/);
    expect(counting.calls).toBe(3);
  });

  it("does not retry where it is told not to", async () => {
    await proxy.refuse();
    await refusal(open({ retry: false }).get("k"), sdk.KvUnavailableError);
    expect(counting.calls).toBe(1);
  });

  it("does not retry what can't get better", async () => {
    await refusal(open().get("absent"), sdk.KvNotFoundError);
    expect(counting.calls).toBe(1);
  });

  it("ends retries with the time of the call", async () => {
    await proxy.refuse();
    await refusal(open({ timeoutMs: 100 }).put("k", "v"), sdk.KvUnavailableError);
    expect(counting.calls).toBeGreaterThan(1);
  });

  it("ends a read with KvTimeoutError, and a write with KvUnknownOutcomeError, when the time runs out", async () => {
    proxy.holdAnswers();
    await refusal(open().get("k", { timeoutMs: 50 }), sdk.KvTimeoutError, { reason: "timed_out", key: "k" });
    await refusal(open().put("k", "v", { timeoutMs: 50 }), sdk.KvUnknownOutcomeError, { key: "k" });
  });

  it("throws the signal's own reason", async () => {
    const reason = new Error("enough");
    await expect(open().get("k", { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(counting.calls).toBe(0);
    proxy.holdAnswers();
    const inFlight = new AbortController();
    const read = open().get("k", { signal: inFlight.signal });
    await vi.waitUntil(() => proxy.connections > 0, WAIT);
    inFlight.abort(reason);
    await expect(read).rejects.toBe(reason);
    await proxy.refuse();
    const pausing = new AbortController();
    const retried = open({
      retry: { attempts: 9, baseDelayMs: 60_000, maxDelayMs: 60_000 },
      timeoutMs: 120_000,
    });
    const paused = retried.get("k", { signal: pausing.signal });
    await counting.untilFailures(1);
    pausing.abort(reason);
    await expect(paused).rejects.toBe(reason);
  });

  it("says so when the server is another one", async () => {
    const server = createClient({ serverUrl: `${service.url}/elsewhere`, retry: false }).kv();
    await refusal(server.listBuckets(), sdk.KvError, { code: "unimplemented" });
  });
});
