/** The OpenAPI document: valid, up to date, complete, and consistent with the service's responses. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Validator } from "@seriousme/openapi-schema-validator";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openApiDocument } from "../../src/protocol/openapi/document.js";
import { FORMS } from "../../src/protocol/openapi/forms.js";
import { createRouter } from "../../src/protocol/rest/routes.js";
import { DEFAULT_LIMITS } from "../../src/kv/limits.js";
import { bindMethods } from "../../src/service/methods.js";
import { send1, type TestAnswer, type TestRequest } from "../support/http-client.js";
import { startTestService, type TestService } from "../support/service.js";

const ROOT = join(import.meta.dirname, "../..");
const API_KEY = "the-key-of-the-openapi-test";

interface Operation {
  readonly operationId: string;
  readonly tags: readonly string[];
  readonly parameters?: readonly {
    readonly name?: string;
    readonly in?: string;
    readonly example?: string;
  }[];
  readonly requestBody?: { readonly content: Content };
  readonly responses: Readonly<
    Record<string, { readonly description: string; readonly headers?: object; readonly content?: Content }>
  >;
}
interface Media {
  readonly schema?: object;
  readonly example?: unknown;
  readonly examples?: Readonly<Record<string, { readonly value: { readonly code: string } }>>;
}
type Content = Readonly<Record<string, Media>>;
type Paths = Readonly<Record<string, Readonly<Record<string, Operation>>>>;

const document = JSON.parse(readFileSync(join(ROOT, "web/openapi.json"), "utf8")) as {
  readonly info: { readonly description: string };
  readonly tags: readonly { readonly name: string; readonly description?: string }[];
  readonly paths: Paths;
};

/** The JSON Schema validator that the OpenAPI validator brings; the one at the root is an older one of the linter's. */
interface SchemaValidator {
  addSchema(schema: object, key: string): this;
  validate(schema: object, value: unknown): boolean;
  errorsText(): string;
}
const requireOfValidator = createRequire(
  createRequire(import.meta.url).resolve("@seriousme/openapi-schema-validator"),
);
const { Ajv2020 } = requireOfValidator("ajv/dist/2020.js") as {
  readonly Ajv2020: new (options: object) => SchemaValidator;
};
const addFormats = requireOfValidator("ajv-formats") as {
  readonly default: (validator: SchemaValidator) => void;
};
const schemas = new Ajv2020({ strict: false });
addFormats.default(schemas);
schemas.addSchema(withoutOtherMembers(document) as object, "api");

/** The document as strict as it can be read: a member that it does not name is a mistake here. Clients should be more tolerant. */
function withoutOtherMembers(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutOtherMembers);
  if (typeof value !== "object" || value === null) return value;
  const copy = Object.fromEntries(
    Object.entries(value).map(([name, member]) => [name, withoutOtherMembers(member)]),
  );
  const isObjectSchema = copy.type === "object" && "properties" in copy;
  return isObjectSchema ? { additionalProperties: false, ...copy } : copy;
}

/** Fails where the value is not of the schema at this place of the document. */
function expectFits(place: readonly (string | number)[], value: unknown): void {
  const pointer = place.map((part) => String(part).replaceAll("~", "~0").replaceAll("/", "~1")).join("/");
  const isValid = schemas.validate({ $ref: `api#/${encodeURI(pointer)}` }, value);
  expect(isValid ? "" : `${pointer}: ${schemas.errorsText()} ${JSON.stringify(value)}`).toBe("");
}

const operations = Object.entries(document.paths).flatMap(([path, item]) =>
  Object.keys(item).map((method) => `${method.toUpperCase()} ${path}`),
);

describe("the OpenAPI document", () => {
  it("is valid", async () => {
    expect(await new Validator().validate(document)).toEqual({ valid: true });
  });

  it("is up to date with the contract", () => {
    const buf = join(ROOT, "node_modules/.bin/buf");
    const files = execFileSync(buf, ["build", "--as-file-descriptor-set", "--output", "-"], {
      cwd: ROOT,
      maxBuffer: 64 << 20,
    });
    const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };
    const made = openApiDocument({
      files: fromBinary(FileDescriptorSetSchema, files),
      version,
      errors: readFileSync(join(ROOT, "docs/errors.md"), "utf8"),
    });
    expect(document, "run npm run generate").toEqual(JSON.parse(JSON.stringify(made)));
  });

  it("has every route of the service except aliases, and no other", () => {
    const methods = bindMethods({
      ...{ store: {} as never, apiKeys: {} as never, health: {} as never },
      ...{ systemBucket: () => ({}) as never, limits: DEFAULT_LIMITS },
    });
    const routes = createRouter({ methods })
      .routes.filter(({ target }) => !target.isAlias)
      .map(
        ({ httpMethod, template }) =>
          `${httpMethod} ${template.segments.map((segment) => (segment.kind === "literal" ? `/${segment.text}` : "/{}")).join("")}`,
      );
    const described = operations.map((operation) => operation.replace(/\{[^}]*\}/g, "{}"));
    expect(described.filter((operation) => operation.includes(" /api/")).sort()).toEqual(routes.sort());
  });

  it.each(["key-value-shapes.ts", "bucket-shapes.ts", "api-key-shapes.ts"])(
    "has every request header that %s reads",
    (file) => {
      const source = readFileSync(join(ROOT, "src/protocol/rest", file), "utf8");
      const read = [...source.matchAll(/(?<!\/)\bheaders(?:\["([a-z-]+)"\]|\.([a-z]+))/g)].map(
        ([, quoted, plain]) => quoted ?? plain ?? "",
      );
      const described = Object.values(FORMS).flatMap(({ headers = {} }) =>
        Object.keys(headers).map((name) => name.toLowerCase()),
      );
      // OpenAPI has other places for these two.
      for (const name of read) expect([...described, "accept", "content-type"]).toContain(name);
    },
  );
});

describe("each operation", () => {
  const all = Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ place: ["paths", path, method], operation })),
  );

  it("has a short id of its own, and a tag with a description", () => {
    const ids = all.map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.filter((id) => !/^[a-z]+([A-Z][a-z]+)*$/.test(id) || id.length > 20)).toEqual([]);
    const tags = document.tags.filter(({ description }) => description !== undefined).map(({ name }) => name);
    expect(new Set(all.flatMap(({ operation }) => operation.tags))).toEqual(new Set(tags));
  });

  it("has an example of each body and of each successful response, which fit their schemas", () => {
    for (const { place, operation } of all) {
      const content = Object.entries(operation.requestBody?.content ?? {});
      for (const [type, { example }] of content) {
        expect(example, place.join(" ")).toBeDefined();
        expectFits([...place, "requestBody", "content", type, "schema"], example);
      }
      for (const [status, { content: answers = {} }] of Object.entries(operation.responses)) {
        const { example, schema } = answers["application/json"] ?? {};
        if (schema === undefined || Number(status) >= 300) continue;
        expect(example, place.join(" ")).toBeDefined();
        expectFits([...place, "responses", status, "content", "application/json", "schema"], example);
      }
    }
  });

  it("has an example of each error, with a reason that docs/errors.md explains, and a link to it", () => {
    const errors = all.flatMap(({ place, operation }) =>
      Object.entries(operation.responses)
        .filter(([status]) => Number(status) >= 400 && place[1]?.startsWith("/api/"))
        .map(([status, answer]) => ({ place: [...place, "responses", status], answer })),
    );
    for (const { place, answer } of errors) {
      const examples = Object.entries(answer.content?.["application/json"]?.examples ?? {});
      expect(examples.length, place.join(" ")).toBeGreaterThan(0);
      for (const [name, { value }] of examples) {
        expect(value.code).toBe(name);
        expect(document.info.description).toContain(`## ${name.replaceAll("_", " ")}\n\n\`${name}\`: `);
        expect(answer.description, place.join(" ")).toContain(
          `[\`${name}\`](/docs#description/${name.replaceAll("_", "-")})`,
        );
        expectFits(["components", "schemas", "Error"], value);
      }
    }
    expect(errors.length).toBeGreaterThan(100);
  });
});

/** What later requests need of earlier answers. */
type Known = Record<string, string>;
type Step = readonly [
  operation: string,
  path: string | ((known: Known) => string),
  status: number,
  request?: TestRequest,
];

const B = "/api/v1/kv/buckets";
const KEY = `${B}/{bucket}/keys/{key}`;
const TOUCH = `POST ${B}/{bucket}/touch/{key}`;
const json = (value: unknown): TestRequest => ({ body: JSON.stringify(value) });
const headers = (fields: Record<string, string>): TestRequest => ({ headers: fields });

/** Requests in their order, on one service. */
const STEPS: readonly Step[] = [
  ["GET /healthz", "/healthz", 200],
  ["GET /readyz", "/readyz", 200],
  [`POST ${B}`, B, 201, json({ name: "b", history: 5 })],
  [
    `POST ${B}`,
    B,
    201,
    json({ name: "c", description: "d", ttl_seconds: 60, max_value_size: 10, max_bytes: 4096 }),
  ],
  [`POST ${B}`, B, 409, json({ name: "b" })],
  [`POST ${B}`, B, 400, json({ name: "b", unknown: 1 })],
  [`POST ${B}`, B, 415, { body: "{}", headers: { "content-type": "text/csv" } }],
  [`GET ${B}`, B, 200],
  [`GET ${B}`, `${B}?limit=1`, 200],
  [`GET ${B}`, `${B}?limit=x`, 400],
  [`GET ${B}`, B, 401, headers({ authorization: "Bearer wrong-wrong-wrong-wrong" })],
  [`POST ${B}`, B, 201, json({ name: "d" })],
  [`GET ${B}/{bucket}`, `${B}/c`, 200],
  [`GET ${B}/{bucket}`, `${B}/none`, 404],
  [`PATCH ${B}/{bucket}`, `${B}/b`, 200, json({ description: "changed", ttl_seconds: 90 })],
  [`PATCH ${B}/{bucket}`, `${B}/none`, 404, json({ description: "changed" })],
  [`POST ${B}/{bucket}/compact`, `${B}/b/compact`, 200],
  ["GET /api/v1/environments", "/api/v1/environments", 200],
  [`POST ${B}/{bucket}/compact`, `${B}/none/compact`, 404],
  [
    `POST ${B}/{bucket}/commit`,
    `${B}/c/commit`,
    200,
    json({ operations: [{ put: { key: "k", value: "YQ==" } }, { check: { key: "none", absent: true } }] }),
  ],
  [
    `POST ${B}/{bucket}/commit`,
    `${B}/c/commit`,
    412,
    json({ operations: [{ check: { key: "k", revision: 7 } }] }),
  ],
  [`POST ${B}/{bucket}/commit`, `${B}/c/commit`, 400, json({ operations: [] })],
  [`POST ${B}/{bucket}/batch-get`, `${B}/c/batch-get`, 200, json({ keys: ["k", "none"] })],
  [`POST ${B}/{bucket}/batch-get`, `${B}/c/batch-get`, 400, json({ keys: [] })],
  [`POST ${B}/{bucket}/batch-get`, `${B}/none/batch-get`, 404, json({ keys: ["k"] })],
  [`POST ${B}/{bucket}/delete-keys`, `${B}/c/delete-keys`, 200, json({ filters: ["none.*"] })],
  [`POST ${B}/{bucket}/delete-keys`, `${B}/c/delete-keys`, 400, json({ filters: [] })],
  [`POST ${B}/{bucket}/delete-keys`, `${B}/none/delete-keys`, 404, json({ filters: ["k"] })],
  ["POST /api/v1/config/{name}", "/api/v1/config/app", 200, json({ a: 1 })],
  ["POST /api/v1/config/{name}", "/api/v1/config/app", 400, json([])],
  [
    "POST /api/v1/config/{name}",
    "/api/v1/config/app",
    412,
    { ...json({}), headers: { "if-match": "999999" } },
  ],
  ["PATCH /api/v1/config/{name}", "/api/v1/config/app", 200, json({ b: 1 })],
  ["PATCH /api/v1/config/{name}", "/api/v1/config/none", 404, json({ b: 1 })],
  ["GET /api/v1/config/{name}", "/api/v1/config/app", 200],
  ["GET /api/v1/config/{name}", "/api/v1/config/none", 404],
  ["GET /api/v1/config", "/api/v1/config", 200],
  ["GET /api/v1/config/{name}/watch", "/api/v1/config/app/watch", 426],
  ["DELETE /api/v1/config/{name}", "/api/v1/config/none", 204],
  [`GET ${B}/{bucket}/scan`, `${B}/c/scan`, 200],
  [`GET ${B}/{bucket}/scan`, `${B}/c/scan?limit=x`, 400],
  [`GET ${B}/{bucket}/scan`, `${B}/none/scan`, 404],
  [`PUT ${KEY}`, `${B}/b/keys/a/b`, 200, { body: "value" }],
  [`PUT ${KEY}`, `${B}/b/keys/a/b`, 412, { body: "value", headers: { "if-none-match": "*" } }],
  [`PUT ${KEY}`, `${B}/b/keys/a/b`, 412, { body: "value", headers: { "if-match": "7" } }],
  [`PUT ${KEY}`, `${B}/b/keys/a/b`, 400, { body: "value", headers: { "if-match": "x" } }],
  [
    `PUT ${KEY}`,
    `${B}/b/keys/a/b`,
    200,
    { body: "v", headers: { "if-match": '"1"', "content-type": "text/plain" } },
  ],
  [`PUT ${KEY}`, `${B}/d/keys/k`, 200, { body: "v", headers: { ttl: "60", "x-kv-meta-author": "Ann%20B" } }],
  [`PUT ${KEY}`, `${B}/d/keys/k?ttl_seconds=x`, 400, { body: "v" }],
  [`PUT ${KEY}`, `${B}/d/keys/k?ttl_seconds=60`, 400, { body: "v", headers: { ttl: "60" } }],
  [`PUT ${KEY}`, `${B}/d/keys/k`, 400, { body: "v", headers: { "x-kv-meta-a": "100%" } }],
  [`PUT ${KEY}`, `${B}/b/keys/k?ttl_seconds=60`, 400, { body: "v" }],
  [`GET ${KEY}`, `${B}/d/keys/k`, 200],
  [`GET ${KEY}`, `${B}/d/keys/k?raw=true`, 200],
  [`GET ${B}/{bucket}/history/{key}`, `${B}/d/history/k`, 200],
  [TOUCH, `${B}/d/touch/k?ttl_seconds=90`, 200, headers({ "if-match": "1" })],
  [TOUCH, `${B}/d/touch/k`, 412, headers({ "if-match": "1", ttl: "90" })],
  [TOUCH, `${B}/d/touch/none`, 404],
  [TOUCH, `${B}/d/touch/k`, 400, headers({ "if-none-match": "*" })],
  [`PUT ${KEY}`, `${B}/c/keys/k`, 413, { body: "more than ten bytes" }],
  [`GET ${KEY}`, `${B}/b/keys/a%2Fb`, 200],
  [`GET ${KEY}`, `${B}/b/keys/a%2Fb?raw=true`, 200],
  [`GET ${KEY}`, `${B}/b/keys/a%2Fb`, 304, headers({ "if-none-match": '"2"' })],
  [`GET ${KEY}`, `${B}/b/keys/a%2Fb`, 412, headers({ "if-match": '"1"' })],
  [`GET ${KEY}`, `${B}/b/keys/none`, 404],
  [`GET ${KEY}`, `${B}/b/keys/a%2Fb?revision=99`, 400],
  [`GET ${B}/{bucket}/keys`, `${B}/b/keys?filter=*`, 200],
  [`GET ${B}/{bucket}/keys`, `${B}/none/keys`, 404],
  [`DELETE ${KEY}`, `${B}/b/keys/a/b`, 412, headers({ "if-match": "1" })],
  [`DELETE ${KEY}`, `${B}/b/keys/a/b`, 204],
  [`GET ${B}/{bucket}/history/{key}`, `${B}/b/history/a/b`, 200],
  [`GET ${B}/{bucket}/history/{key}`, `${B}/b/history/none`, 404],
  [`GET ${B}/{bucket}/watch`, `${B}/b/watch`, 426],
  [`GET ${B}/{bucket}/watch`, `${B}/none/watch`, 404, headers({ accept: "text/event-stream" })],
  [
    "POST /api/v1/api-keys",
    "/api/v1/api-keys",
    200,
    json({ name: "n", scopes: [{ accesses: ["ACCESS_READ"], buckets: "*" }], expires_in: "60s" }),
  ],
  ["POST /api/v1/api-keys", "/api/v1/api-keys", 400, json({ name: "" })],
  ["GET /api/v1/api-keys", "/api/v1/api-keys", 200],
  ["GET /api/v1/api-keys/{id}", ({ id }) => `/api/v1/api-keys/${id ?? ""}`, 200],
  [
    "POST /api/v1/api-keys/{id}/rotate",
    ({ id }) => `/api/v1/api-keys/${id ?? ""}/rotate`,
    200,
    json({ overlap: "9s" }),
  ],
  [`DELETE ${KEY}`, `${B}/b/keys/k`, 403, { headers: { authorization: "Bearer {secret}" } }],
  ["DELETE /api/v1/api-keys/{id}", ({ id }) => `/api/v1/api-keys/${id ?? ""}`, 204],
  ["GET /api/v1/api-keys/{id}", ({ id }) => `/api/v1/api-keys/${id ?? ""}`, 404],
  ["POST /api/v1/watch-tickets", "/api/v1/watch-tickets", 200, json({ bucket: "b" })],
  [`DELETE ${B}/{bucket}`, `${B}/c`, 204],
  [`DELETE ${B}/{bucket}`, `${B}/c`, 404],
];

/** The operations with examples, in an order in which each finds what it names. */
const EXAMPLE_ORDER: readonly (readonly [method: string, path: string])[] = [
  ["POST", B],
  ["PUT", KEY],
  ["GET", KEY],
  ["GET", `${B}/{bucket}`],
  ["GET", `${B}/{bucket}/keys`],
  ["GET", `${B}/{bucket}/history/{key}`],
  ["POST", `${B}/{bucket}/commit`],
  ["POST", `${B}/{bucket}/batch-get`],
  ["POST", `${B}/{bucket}/delete-keys`],
  ["PATCH", `${B}/{bucket}`],
  ["POST", `${B}/{bucket}/compact`],
  ["GET", "/api/v1/environments"],
  ["POST", "/api/v1/api-keys"],
  ["POST", "/api/v1/api-keys/{id}/rotate"],
  ["POST", "/api/v1/watch-tickets"],
  ["DELETE", "/api/v1/api-keys/{id}"],
];

/** The value with the kind of each member in place of what it is. */
function membersOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(membersOf);
  if (typeof value !== "object" || value === null) return value === null ? null : typeof value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, membersOf(member)]));
}

describe("the service's responses", () => {
  let service: TestService;
  beforeAll(async () => {
    service = await startTestService({ "api-key": API_KEY });
  });
  afterAll(() => service.remove());

  it("match the document for each operation", async () => {
    const known: Known = {};
    for (const [operation, path, status, request = {}] of STEPS) {
      const [method = "", template = ""] = operation.split(" ");
      const sent = typeof path === "string" ? path : path(known);
      const { authorization = `Bearer ${API_KEY}` } = request.headers ?? {};
      const answer = await send1(service.url, method, sent, {
        ...request,
        headers: { ...request.headers, authorization: authorization.replace("{secret}", known.secret ?? "") },
      });
      expect(`${operation} ${answer.status} ${answer.status === status ? "" : answer.text}`).toBe(
        `${operation} ${status} `,
      );
      const place = ["paths", template, method.toLowerCase()];
      expectDescribed(place, answer);
      if (
        request.body !== undefined &&
        status < 300 &&
        document.paths[template]?.[method.toLowerCase()]?.requestBody?.content["application/json"]
      ) {
        expectFits(
          [...place, "requestBody", "content", "application/json", "schema"],
          JSON.parse(String(request.body)),
        );
      }
      const { api_key: apiKey, secret } = (answer.json ?? {}) as {
        api_key?: { id: string };
        secret?: string;
      };
      if (apiKey !== undefined) known.id = apiKey.id;
      if (secret !== undefined) known.secret = secret;
    }
    const streams = [`GET ${B}/{bucket}/watch`, "GET /api/v1/config/{name}/watch"];
    const answered = new Set([
      ...streams,
      ...STEPS.filter(([, , status]) => status < 300).map(([operation]) => operation),
    ]);
    expect(operations.filter((operation) => !answered.has(operation))).toEqual([]);
  });

  it("to the examples have the members of the example responses", async () => {
    const send = (method: string, path: string, request: TestRequest = {}) =>
      send1(service.url, method, path, {
        ...request,
        headers: { ...request.headers, authorization: `Bearer ${API_KEY}` },
      });
    let id = "";
    for (const [method, path] of EXAMPLE_ORDER) {
      const operation = document.paths[path]?.[method.toLowerCase()];
      const values = Object.fromEntries(
        (operation?.parameters ?? []).map(({ name = "", example = "" }) => [name, example]),
      );
      const sent = path.replace(/\{(\w+)\}/g, (_, name: string) =>
        name === "id" ? id : (values[name] ?? ""),
      );
      const [type, media] = Object.entries(operation?.requestBody?.content ?? {})[0] ?? [];
      const body = typeof media?.example === "string" ? media.example : JSON.stringify(media?.example);
      const request: TestRequest = type === undefined ? {} : { body, headers: { "content-type": type } };
      const answer = await send(method, sent, request);
      expect(`${method} ${sent} ${answer.status} ${answer.status < 300 ? "" : answer.text}`).toMatch(
        / 20\d $/,
      );
      const expected = operation?.responses[answer.status]?.content?.["application/json"]?.example;
      expect(membersOf(answer.json), `${method} ${path}`).toEqual(membersOf(expected));
      id = (answer.json as { api_key?: { id: string } } | undefined)?.api_key?.id ?? id;
    }
  });

  it("match the document for each frame of a watch", async () => {
    await send1(service.url, "POST", B, {
      ...json({ name: "w" }),
      headers: { authorization: `Bearer ${API_KEY}` },
    });
    await send1(service.url, "PUT", `${B}/w/keys/k`, {
      body: "v",
      headers: { authorization: `Bearer ${API_KEY}` },
    });
    const abort = new AbortController();
    const answer = await fetch(`${service.url}${B}/w/watch?snapshot_end=true&progress=100ms`, {
      headers: { accept: "text/event-stream", authorization: `Bearer ${API_KEY}` },
      signal: abort.signal,
    });
    expect(answer.headers.get("content-type")).toBe("text/event-stream");
    const types = new Set<string>();
    for await (const frame of framesOf(answer)) {
      expectFits(["components", "schemas", "WatchFrame"], frame);
      types.add(frame.type);
      if (frame.type === "progress" && !types.has("error"))
        await send1(service.url, "DELETE", `${B}/w`, { headers: { authorization: `Bearer ${API_KEY}` } });
    }
    expect([...types].sort()).toEqual(["error", "kv_update", "progress", "snapshot_end"]);
    abort.abort();
  });
});

/** The status is described, with the headers that the answer has to have, and the body fits. */
function expectDescribed(place: readonly string[], answer: TestAnswer): void {
  const [, path = "", method = ""] = place;
  const described = document.paths[path]?.[method]?.responses[answer.status];
  expect(described, `${method} ${path} ${answer.status}`).toBeDefined();
  const hasRevision = answer.status !== 412 || answer.headers.etag !== undefined;
  for (const name of Object.keys(described?.headers ?? {})) {
    if (hasRevision)
      expect(answer.headers, `${method} ${path} ${answer.status}`).toHaveProperty(name.toLowerCase());
  }
  const type = answer.headers["content-type"]?.split(";")[0] ?? "";
  const content = described?.content ?? {};
  if (answer.bytes.length === 0 && Object.keys(content).length === 0) return;
  const name = type in content ? type : "*/*";
  expect(Object.keys(content), `${method} ${path} ${answer.status} ${type}`).toContain(name);
  if (content[name]?.schema === undefined) return;
  const schema = [...place, "responses", answer.status, "content", name, "schema"];
  if (name === "application/x-ndjson") {
    for (const line of answer.text.trim().split("\n")) expectFits(schema, JSON.parse(line));
  } else {
    expectFits(schema, name === "application/json" ? answer.json : answer.text);
  }
}

async function* framesOf(answer: Response): AsyncGenerator<{ readonly type: string }> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of answer.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    const lines = text.split("\n");
    text = lines.pop() ?? "";
    for (const line of lines) {
      if (line.startsWith("data: ")) yield JSON.parse(line.slice(6)) as { readonly type: string };
    }
  }
}
