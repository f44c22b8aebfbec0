/**
 * Nobody gets in who should not: every method through every door, every REST route, every upgrade and every other path, without a key,
 * with keys that are good no more, and with keys of one scope each. The methods and routes are taken from the contract: one that is new
 * fails here until it says what it needs.
 */
import {
  create,
  type DescMethod,
  type DescMethodStreaming,
  type DescMethodUnary,
  getOption,
} from "@bufbuild/protobuf";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { once } from "node:events";
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { describe, expect, onTestFinished } from "vitest";
import { http } from "../../gen/google/api/annotations_pb.js";
import { type Access, createClient } from "@ironflow-kv/client";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import { Health } from "../../src/service/health.js";
import { bindMethods } from "../../src/service/methods.js";
import { CONTRACT_DOORS } from "../api/doors.js";
import { serviceTest } from "../support/fixtures.js";
import { send1, send2, type TestAnswer } from "../support/http-client.js";
import { open1 } from "../support/sse-client.js";
import { refusedUpgrade } from "../support/watch-client.js";
import { IS_EXTENDED } from "../support/extended.js";

/** What each method needs: a scope, any key, or no key. `configs`: a scope on SYS_config, which no key here has. */
const NEEDS: Readonly<
  Record<string, Access | "configs" | "admin on *" | "any scope" | "any key" | "nothing">
> = {
  "/ironflow.kv.v1.BucketService/CreateBucket": "admin",
  "/ironflow.kv.v1.BucketService/GetBucket": "any scope",
  "/ironflow.kv.v1.BucketService/ListBuckets": "any key",
  "/ironflow.kv.v1.BucketService/UpdateBucket": "admin",
  "/ironflow.kv.v1.BucketService/DeleteBucket": "admin",
  "/ironflow.kv.v1.BucketService/CompactBucket": "admin",
  "/ironflow.kv.v1.BucketService/ListEnvironments": "any key",
  "/ironflow.kv.v1.KeyValueService/Get": "read",
  "/ironflow.kv.v1.KeyValueService/Put": "write",
  "/ironflow.kv.v1.KeyValueService/Delete": "write",
  "/ironflow.kv.v1.KeyValueService/Touch": "write",
  "/ironflow.kv.v1.KeyValueService/Commit": "write",
  "/ironflow.kv.v1.KeyValueService/ListKeys": "read",
  "/ironflow.kv.v1.KeyValueService/BatchGet": "read",
  "/ironflow.kv.v1.KeyValueService/Scan": "read",
  "/ironflow.kv.v1.KeyValueService/DeleteKeys": "write",
  "/ironflow.kv.v1.KeyValueService/GetHistory": "read",
  "/ironflow.kv.v1.KeyValueService/Watch": "watch",
  "/ironflow.kv.v1.ConfigService/SetConfig": "configs",
  "/ironflow.kv.v1.ConfigService/GetConfig": "configs",
  "/ironflow.kv.v1.ConfigService/PatchConfig": "configs",
  "/ironflow.kv.v1.ConfigService/DeleteConfig": "configs",
  "/ironflow.kv.v1.ConfigService/ListConfigs": "configs",
  "/ironflow.kv.v1.ConfigService/WatchConfig": "configs",
  "/ironflow.kv.v1.BackupService/ImportEntries": "write",
  "/ironflow.kv.v1.ApiKeyService/CreateApiKey": "admin on *",
  "/ironflow.kv.v1.ApiKeyService/GetApiKey": "admin on *",
  "/ironflow.kv.v1.ApiKeyService/ListApiKeys": "admin on *",
  "/ironflow.kv.v1.ApiKeyService/RevokeApiKey": "admin on *",
  "/ironflow.kv.v1.ApiKeyService/RotateApiKey": "admin on *",
  "/ironflow.kv.v1.ApiKeyService/CreateWatchTicket": "watch",
  "/ironflow.kv.v1.StatusService/GetStatus": "any key",
  "/grpc.health.v1.Health/Check": "nothing",
  "/grpc.health.v1.Health/List": "nothing",
  "/grpc.health.v1.Health/Watch": "nothing",
  "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": "any key",
  "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": "any key",
};

const ACCESSES: readonly Access[] = ["read", "write", "watch", "admin"];
/** Of a commit. */
const OPERATIONS = [{ operation: { case: "delete", value: { key: "k" } } }];
const ORIGIN = "https://app.example.com";
const SCOPES = [...ACCESSES, "admin on *"];
const ROOT_KEY = "the-root-key-of-tests";
/** Neither exists: who gets past the check learns just that, and nothing is changed. */
const MINE = "mine-1";
const OTHERS = "others";

/** The methods, as the service binds them; they are not called here. */
const methods = [
  ...bindMethods({
    store: {} as never,
    apiKeys: {} as never,
    systemBucket: () => ({}) as never,
    limits: DEFAULT_LIMITS,
    health: new Health(() => Promise.resolve()),
  }).values(),
];
const routes = methods.flatMap(({ desc, path }) => {
  const rule = getOption(desc, http);
  return [rule, ...rule.additionalBindings].flatMap(({ pattern }) =>
    pattern.case === undefined || pattern.case === "custom"
      ? []
      : [{ desc, path, httpMethod: pattern.case.toUpperCase(), template: pattern.value }],
  );
});

const keys: Record<string, string> = {};

const it = serviceTest({ "api-key": ROOT_KEY, "allowed-origins": ORIGIN });
it.beforeAll(async ({ service }) => {
  const root = createClient({ serverUrl: service.url, apiKey: ROOT_KEY }).apiKeys();
  for (const access of ACCESSES) {
    const scopes = [{ accesses: [access], buckets: "mine-*" }];
    keys[access] = (await root.create({ name: access, scopes })).secret;
  }
  const everywhere = [{ accesses: ["admin"] as const, buckets: "*" }];
  keys["admin on *"] = (await root.create({ name: "manager", scopes: everywhere })).secret;
  const revoked = await root.create({ name: "revoked", scopes: everywhere });
  await root.revoke(revoked.id);
  keys.revoked = revoked.secret;
  const expired = await root.create({ name: "expired", scopes: everywhere, expiresInSeconds: 1 });
  keys.expired = expired.secret;
  await new Promise((resolve) => setTimeout(resolve, (expired.expiresAt?.getTime() ?? 0) - Date.now() + 1));
});

/** The credentials of callers without a valid key. */
const BAD_CREDENTIALS: readonly (readonly [string, () => string | undefined])[] = [
  ["no key", () => undefined],
  ["a revoked key", () => `Bearer ${keys.revoked}`],
  ["a wrong key", () => "Bearer ifkey_0123456789"],
  ["an expired key", () => `Bearer ${keys.expired}`],
  ["another scheme", () => `Basic ${Buffer.from(`x:${ROOT_KEY}`).toString("base64")}`],
  ["a key without its scheme", () => ROOT_KEY],
  ["two keys", () => `Bearer ${ROOT_KEY} ${ROOT_KEY}`],
  ["an empty key", () => "Bearer "],
];

/** Calls a method with a request about a bucket, and tells how it ended; a stream with its first message. */
async function codeOf(
  transport: Transport,
  desc: DescMethod,
  bucket: string,
  authorization: string | undefined,
): Promise<string> {
  const headers = authorization === undefined ? {} : { authorization };
  const request = create(desc.input, { bucket, name: bucket, key: "k", operations: OPERATIONS });
  const leaving = new AbortController();
  try {
    if (desc.methodKind === "unary") {
      await transport.unary(desc as DescMethodUnary, undefined, undefined, headers, request);
    } else {
      // eslint-disable-next-line @typescript-eslint/require-await -- the transport wants an async iterable
      const input = (async function* () {
        yield request;
      })();
      const { message } = await transport.stream(
        desc as DescMethodStreaming,
        leaving.signal,
        undefined,
        headers,
        input,
      );
      await message[Symbol.asyncIterator]().next();
    }
    return "ok";
  } catch (error) {
    return Code[ConnectError.from(error).code];
  } finally {
    leaving.abort();
  }
}

/** Whether this method has a wire form through this door: two-way streams need HTTP/2. */
const isServed = (desc: DescMethod, door: string): boolean =>
  desc.methodKind !== "bidi_streaming" || door.endsWith("HTTP/2");

describe("every method", () => {
  it("says what it needs", () => {
    expect(Object.keys(NEEDS).sort()).toEqual(methods.map(({ path }) => path).sort());
  });

  const [firstDoor] = CONTRACT_DOORS;
  const refusals = CONTRACT_DOORS.flatMap((door) =>
    (IS_EXTENDED || door === firstDoor ? BAD_CREDENTIALS : BAD_CREDENTIALS.slice(0, 2)).map(
      ([what, credential]) => [door.name, what, door, credential] as const,
    ),
  );
  it.for(refusals)(
    "through %s is refused with %s, unless it needs none",
    async ([name, , door, credential], { service }) => {
      const transport = door.connect(service.url);
      const served = methods.filter(({ desc }) => isServed(desc, name));
      const codes = await Promise.all(served.map(({ desc }) => codeOf(transport, desc, MINE, credential())));
      for (const [index, { path }] of served.entries()) {
        expect(codes[index], path).toBe(NEEDS[path] === "nothing" ? "ok" : "Unauthenticated");
      }
    },
  );

  const doors = CONTRACT_DOORS.filter((_, index) => IS_EXTENDED || index % 5 === 0);
  const grants = doors.flatMap((door) => SCOPES.map((scope) => [door.name, scope, door] as const));
  it.for(grants)(
    "through %s takes a key with %s for what it allows",
    async ([name, scope, door], { service }) => {
      const transport = door.connect(service.url);
      const calls = methods
        .filter(({ desc }) => isServed(desc, name))
        .flatMap((method) => [MINE, OTHERS].map((bucket) => ({ ...method, bucket })));
      const codes = await Promise.all(
        calls.map(({ desc, bucket }) => codeOf(transport, desc, bucket, `Bearer ${keys[scope]}`)),
      );
      for (const [index, { path, bucket }] of calls.entries()) {
        const code = codes[index] ?? "";
        const isDenied = code === "PermissionDenied" || code === "Unauthenticated";
        expect(isDenied, `${path} on ${bucket}: ${code}`).toBe(!isAllowed(path, bucket, scope));
      }
    },
  );
});

describe("a request without a key is refused before its body arrives", () => {
  const isUnary = ({ methodKind }: DescMethod): boolean => methodKind === "unary";
  const types: readonly (readonly [
    string,
    Readonly<Record<string, string>>,
    (desc: DescMethod) => boolean,
  ])[] = [
    ["application/grpc", { te: "trailers" }, () => true],
    ["application/grpc+json", { te: "trailers", "grpc-encoding": "gzip" }, () => true],
    ["application/grpc-web+proto", {}, () => true],
    ["application/grpc-web-text", {}, () => true],
    ["application/grpc-web+json", { "grpc-encoding": "gzip" }, () => true],
    ["application/json", {}, isUnary],
    ["application/proto", { "content-encoding": "gzip" }, isUnary],
    ["application/connect+json", {}, (desc) => !isUnary(desc)],
  ];

  it.for(types)("%s %j", async ([type, headers, isOf], { service }) => {
    const guarded = methods.filter(({ desc, path }) => NEEDS[path] !== "nothing" && isOf(desc));
    const session = connectHttp2(service.url);
    onTestFinished(() => session.destroy());
    for (const { path } of guarded) {
      const answer = await refusal(session, {
        ":method": "POST",
        ":path": path,
        "content-type": type,
        ...headers,
      });
      expect(answer, path).toMatch(/unauthenticated|"grpc-status":"16"|grpc-status: 16/);
    }
  });

  it("REST", async ({ service }) => {
    const session = connectHttp2(service.url);
    onTestFinished(() => session.destroy());
    for (const { httpMethod, template } of routes.filter(
      ({ httpMethod }) => !/GET|DELETE/.test(httpMethod),
    )) {
      const path = template.replace(/\{[^}]*\}/g, "k");
      expect(await refusal(session, { ":method": httpMethod, ":path": path }), path).toContain(
        "unauthenticated",
      );
    }
  });

  /** All of the response to a request that does not end. */
  async function refusal(session: ClientHttp2Session, fields: Record<string, string>): Promise<string> {
    const stream = session.request(fields, { endStream: false });
    stream.on("error", () => undefined);
    let answer = "";
    stream.on("response", (headers) => (answer += JSON.stringify(headers)));
    stream.on("trailers", (trailers) => (answer += JSON.stringify(trailers)));
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    await once(stream, "end");
    stream.close();
    const body = Buffer.concat(chunks);
    const isText = answer.includes("grpc-web-text");
    return answer + (isText ? Buffer.from(body.toString(), "base64") : body).toString();
  }
});

function isAllowed(path: string, bucket: string, scope: string): boolean {
  const isInScope = scope === "admin on *" || bucket === MINE;
  switch (NEEDS[path]) {
    case "nothing":
    case "any key":
      return true;
    case "any scope":
      return isInScope;
    case "admin on *":
      return scope === "admin on *";
    case "configs":
      return false;
    default:
      return isInScope && NEEDS[path] === scope.split(" ")[0];
  }
}

describe("every REST route", () => {
  const pathOf = (template: string, bucket: string): string =>
    template.replace(/\{(\w+)[^}]*\}/g, (_, field: string) => (field === "bucket" ? bucket : "k"));
  const bodyOf = (desc: DescMethod, bucket: string): string =>
    JSON.stringify(
      desc.input.field.bucket === undefined && desc.localName === "createBucket"
        ? { name: bucket }
        : desc.localName === "createWatchTicket"
          ? { bucket }
          : desc.localName === "commit"
            ? { operations: [{ delete: { key: "k" } }] }
            : {},
    );

  it.for(routes)("$httpMethod $template", async ({ path, desc, httpMethod, template }, { service }) => {
    const isStream = desc.methodKind === "server_streaming";
    const ask = (bucket: string, authorization: string | undefined, send = send1): Promise<TestAnswer> =>
      send(service.url, httpMethod, pathOf(template, bucket), {
        headers: {
          ...(authorization === undefined ? {} : { authorization }),
          ...(isStream ? { accept: "text/event-stream" } : {}),
        },
        ...(["POST", "PUT", "PATCH"].includes(httpMethod) ? { body: bodyOf(desc, bucket) } : {}),
      });
    for (const [what, credential] of BAD_CREDENTIALS) {
      for (const send of what === "no key" ? [send1, send2] : [send1]) {
        const answer = await ask(MINE, credential(), send);
        expect(answer.status, what).toBe(401);
        expect(answer.json).toEqual({
          error: "A valid API key is required: send 'Authorization: Bearer <key>'.",
          code: "unauthenticated",
        });
        expect(answer.headers["www-authenticate"]).toBe("Bearer");
      }
    }
    for (const scope of SCOPES) {
      for (const bucket of [MINE, OTHERS]) {
        const { status } = await ask(bucket, `Bearer ${keys[scope]}`);
        const isDenied = status === 401 || status === 403;
        expect(isDenied, `${scope} on ${bucket}: ${status}`).toBe(!isAllowed(path, bucket, scope));
      }
    }
  });

  it("answers no other path under /api, with or without a key", async ({ service }) => {
    for (const path of [
      "/api",
      "/api/",
      "/api/v1",
      "/api/v1/kv",
      "/api/v1/api-keys/",
      "/api/v2/kv/buckets",
    ]) {
      for (const headers of [{}, { authorization: `Bearer ${ROOT_KEY}` }]) {
        expect((await send1(service.url, "GET", path, { headers })).status, path).toBe(404);
      }
    }
  });
});

describe("every upgrade", () => {
  it("is refused without a valid key", async ({ service }) => {
    for (const { template } of routes.filter(({ desc }) => desc.name === "Watch")) {
      const path = template.replace("{bucket}", MINE);
      for (const [what, credential] of BAD_CREDENTIALS) {
        const authorization = credential();
        const headers = authorization === undefined ? {} : { authorization };
        expect((await refusedUpgrade(service.url, path, headers))[0], what).toBe(401);
        expect((await open1(service.url, path, headers)).status, what).toBe(401);
      }
      for (const secret of ["", "x", keys.revoked, keys.expired]) {
        const offered = `ironflow, bearer.${Buffer.from(secret ?? "").toString("base64url")}`;
        expect((await refusedUpgrade(service.url, path, { "sec-websocket-protocol": offered }))[0]).toBe(401);
      }
      const denied = { authorization: `Bearer ${keys.read}` };
      expect((await refusedUpgrade(service.url, path, denied))[0]).toBe(403);
      const passed = { authorization: `Bearer ${keys.watch}` };
      expect((await refusedUpgrade(service.url, path, passed))[0]).toBe(404);
    }
  });
});

describe("every other path", () => {
  it.for([
    ["/healthz", 200],
    ["/readyz", 200],
    ["/", 200],
    ["/console", 200],
    ["/console/buckets/any", 200],
    ["/favicon.svg", 200],
    ["/docs", 200],
    ["/docs.js", 200],
    ["/docs.css", 200],
    ["/openapi.json", 200],
    ["/metrics", 401],
    ["/nothing", 404],
    ["/index.html", 404],
    ["/../package.json", 404],
    ["/..%2fpackage.json", 404],
    ["/web/openapi.json", 404],
    ["/.vite/license.md", 404],
    ["/consoles", 404],
    ["/debug/pprof", 404],
    ["/ironflow.kv.v1.KeyValueService", 404],
    ["/ironflow.kv.v1.KeyValueService/Nothing", 404],
  ] as const)("%s answers %i without a key", async ([path, status], { service }) => {
    for (const send of [send1, send2]) expect((await send(service.url, "GET", path)).status).toBe(status);
  });

  it("answers preflights, which browsers send without a key", async ({ service }) => {
    const headers = { origin: ORIGIN, "access-control-request-method": "GET" };
    for (const path of ["/api/v1/kv/buckets", "/ironflow.kv.v1.KeyValueService/Get"]) {
      expect((await send1(service.url, "OPTIONS", path, { headers })).status).toBe(204);
    }
  });
});
