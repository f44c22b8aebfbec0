/** Answers that can grow stay below what clients accept by default, through every door; nothing is lost between pages. */
import type { DescMessage, DescMethodUnary, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { create, fromBinary, fromJsonString, toBinary } from "@bufbuild/protobuf";
import { Code, createClient } from "@connectrpc/connect";
import { Client, credentials, type ServiceError, status } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ApiKeyService, type ListApiKeysResponse } from "../../gen/ironflow/kv/v1/api_key_service_pb.js";
import { BackupService } from "../../gen/ironflow/kv/v1/backup_service_pb.js";
import { BucketService, type ListBucketsResponse } from "../../gen/ironflow/kv/v1/bucket_service_pb.js";
import {
  type GetHistoryResponse,
  KeyValueService,
  type ListKeysResponse,
} from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { Operation } from "../../gen/ironflow/kv/v1/types_pb.js";
import { freshName, startTestService, type TestService } from "../support/service.js";
import { CALL_DOORS } from "./doors.js";
import { bytes, clientsOf, refusal } from "./support.js";

const LONG_KEYS = Array.from({ length: 9_000 }, (_, index) => `${index}`.padStart(5, "0").padEnd(505, "k"));
const MEGABYTE = new Uint8Array(1_000_000).fill(7);
const BUCKETS = Array.from({ length: 60 }, (_, index) => `listed-${`${index}`.padStart(2, "0")}`);
/** Six times as long in JSON. */
const DESCRIPTION = "\u0001".repeat(1_024);

const [anyDoor] = CALL_DOORS;
if (anyDoor === undefined) throw new Error("no door");
const bucket = freshName();
let service: TestService;
/** With pages so small that 60 buckets take several. */
let smallPages: TestService;

beforeAll(async () => {
  [service, smallPages] = await Promise.all([
    startTestService(),
    startTestService({ "page-bytes-max": "65536" }),
  ]);
  const { buckets, kv } = clientsOf(anyDoor, service.url);
  await buckets.createBucket({ name: bucket, history: 10 });
  const backup = createClient(BackupService, anyDoor.connect(service.url));
  for (let done = 0; done < LONG_KEYS.length; done += 1_000) {
    const keys = LONG_KEYS.slice(done, done + 1_000);
    const entries = keys.map((key) => ({ key, operation: Operation.PUT }));
    await backup.importEntries({ bucket, afterRevision: BigInt(done), entries });
  }
  for (let count = 0; count < 6; count++) await kv.put({ bucket, key: "large", value: MEGABYTE });
  const small = clientsOf(anyDoor, smallPages.url);
  for (const name of BUCKETS) await small.buckets.createBucket({ name, description: DESCRIPTION });
}, 120_000);
afterAll(() => Promise.all([service.remove(), smallPages.remove()]));

describe.each(CALL_DOORS)("pages over $name", (door) => {
  it("list 9,000 keys of 505 bytes completely, in order", async () => {
    const { kv } = clientsOf(door, service.url);
    const pages: ListKeysResponse[] = [];
    let pageToken = "";
    do {
      const page = await kv.listKeys({ bucket, limit: 10_000, filters: ["*"], pageToken });
      pages.push(page);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(pages.length).toBeGreaterThan(1);
    expect(pages.flatMap((page) => page.keys)).toEqual([...LONG_KEYS, "large"]);
  });

  it("return a history of 6 x 1 MB completely, oldest first", async () => {
    const { kv } = clientsOf(door, service.url);
    const pages: GetHistoryResponse[] = [];
    let pageToken = "";
    do {
      const page = await kv.getHistory({ bucket, key: "large", limit: 64, pageToken });
      pages.push(page);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(pages.length).toBeGreaterThan(1);
    const revisions = pages.flatMap((page) => page.entries.map((entry) => entry.revision));
    expect(revisions).toEqual([9_001n, 9_002n, 9_003n, 9_004n, 9_005n, 9_006n]);
  });

  it("list buckets with long descriptions completely, in order", async () => {
    const { buckets } = clientsOf(door, smallPages.url);
    const pages: ListBucketsResponse[] = [];
    let pageToken = "";
    do {
      const page = await buckets.listBuckets({ limit: 1_000, pageToken });
      pages.push(page);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(pages.length).toBeGreaterThan(1);
    expect(pages.flatMap((page) => page.buckets.map(({ name }) => name))).toEqual(BUCKETS);
  });

  it("of a history hold at most `limit` entries", async () => {
    const { kv, buckets } = clientsOf(door, service.url);
    const name = freshName();
    await buckets.createBucket({ name, history: 5 });
    for (const value of ["1", "2", "3"]) await kv.put({ bucket: name, key: "k", value: bytes(value) });
    const first = await kv.getHistory({ bucket: name, key: "k", limit: 2 });
    expect(first.entries.map((entry) => entry.revision)).toEqual([1n, 2n]);
    const rest = await kv.getHistory({ bucket: name, key: "k", pageToken: first.nextPageToken });
    expect(rest.entries.map((entry) => entry.revision)).toEqual([3n]);
    expect(rest.nextPageToken).toBe("");
  });

  it("refuse tokens that are malformed, of another listing, or of an earlier bucket of the name", async () => {
    const { kv, buckets } = clientsOf(door, service.url);
    const name = freshName();
    const fill = async (): Promise<void> => {
      await buckets.createBucket({ name, history: 5 });
      for (const key of ["a", "b", "a", "b"]) await kv.put({ bucket: name, key, value: bytes("v") });
    };
    await fill();
    const { nextPageToken: ofKeys } = await kv.listKeys({ bucket: name, limit: 1 });
    const { nextPageToken: ofA } = await kv.getHistory({ bucket: name, key: "a", limit: 1 });
    const refused = (call: Promise<unknown>): Promise<unknown> =>
      refusal(call, Code.InvalidArgument, "invalid_argument");
    await refused(kv.getHistory({ bucket: name, key: "b", pageToken: ofA }));
    await refused(kv.getHistory({ bucket: name, key: "a", pageToken: ofKeys }));
    await refused(kv.getHistory({ bucket: name, key: "a", pageToken: "x" }));
    await refused(kv.getHistory({ bucket: name, key: "a", limit: 65 }));
    await refused(kv.listKeys({ bucket: name, pageToken: ofA }));
    await refused(buckets.listBuckets({ pageToken: ofA }));
    await buckets.deleteBucket({ bucket: name });
    await fill();
    await refused(kv.getHistory({ bucket: name, key: "a", pageToken: ofA }));
    await refused(kv.listKeys({ bucket: name, pageToken: ofKeys }));
  });
});

describe("REST clients that know no pages", () => {
  const json = async (path: string, url = service.url): Promise<unknown> => {
    const response = await fetch(`${url}/api/v1/kv/buckets${path}`);
    expect(response.status).toBe(200);
    return response.json();
  };

  it("get a history of 6 x 1 MB as a whole, in the form that they know", async () => {
    const answer = (await json(`/${bucket}/history/large`)) as { entries: { revision: number }[] };
    expect(Object.keys(answer)).toEqual(["key", "entries", "count"]);
    expect(answer).toMatchObject({ key: "large", count: 6 });
    const revisions = answer.entries.map(({ revision }) => revision);
    expect(revisions).toEqual([9_001, 9_002, 9_003, 9_004, 9_005, 9_006]);
  });

  it("get all keys and all buckets", async () => {
    expect(await json(`/${bucket}/keys?filter=0*`)).toEqual({ keys: LONG_KEYS, count: LONG_KEYS.length });
    const listed = (await json("", smallPages.url)) as { buckets: { name: string }[] };
    expect(Object.keys(listed)).toEqual(["buckets", "count"]);
    expect(listed.buckets.map(({ name }) => name)).toEqual(BUCKETS);
  });
});

describe("a stock gRPC client, which accepts 4 MiB", () => {
  /** A call by grpc-js with its defaults. */
  function call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    url = service.url,
  ): Promise<MessageShape<O>> {
    const client = new Client(new URL(url).host, credentials.createInsecure());
    return new Promise<MessageShape<O>>((resolve, reject) => {
      client.makeUnaryRequest(
        `/${method.parent.typeName}/${method.name}`,
        (message: MessageShape<I>) => Buffer.from(toBinary(method.input, message)),
        (answer: Buffer) => fromBinary(method.output, answer),
        create(method.input, request),
        (error, answer) => {
          if (answer === undefined) reject(error ?? new Error("no answer"));
          else resolve(answer);
        },
      );
    }).finally(() => client.close());
  }

  it("lists 9,000 keys of 505 bytes by `next_page_token`, as the contract always said", async () => {
    const keys: string[] = [];
    let pageToken = "";
    do {
      const page = await call(KeyValueService.method.listKeys, { bucket, pageToken });
      keys.push(...page.keys);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(keys).toEqual([...LONG_KEYS, "large"]);
  });

  it("that knows no pages of a history gets all of it, or is told why not: never a part", async () => {
    const failure: unknown = await call(KeyValueService.method.getHistory, { bucket, key: "large" }).catch(
      (error: unknown) => error,
    );
    expect(failure).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      details: expect.stringMatching(/^The history of the key "large" .* set limit/) as string,
    });
    expect((failure as ServiceError).metadata.get("grpc-status-details-bin")).toHaveLength(1);
    const { entries } = await call(KeyValueService.method.getHistory, { bucket, key: LONG_KEYS[0] ?? "" });
    expect(entries).toHaveLength(1);
  });

  it("reads a history of 6 x 1 MB in pages", async () => {
    const revisions: bigint[] = [];
    let pageToken = "";
    do {
      const request = { bucket, key: "large", limit: 64, pageToken };
      const page = await call(KeyValueService.method.getHistory, request);
      revisions.push(...page.entries.map((entry) => entry.revision));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(revisions).toEqual([9_001n, 9_002n, 9_003n, 9_004n, 9_005n, 9_006n]);
  });

  it("gets the largest value that may be stored, and it fits one page of a history", async () => {
    const key = "k".repeat(512);
    const value = new Uint8Array(1_048_576);
    const contentType = "t".repeat(255);
    await call(KeyValueService.method.put, { bucket, key, value, contentType });
    const got = await call(KeyValueService.method.get, { bucket, key });
    expect(got.entry?.value).toHaveLength(value.length);
    expect((await call(KeyValueService.method.getHistory, { bucket, key })).entries).toHaveLength(1);
  });

  it("lists buckets with long descriptions", async () => {
    const page = await call(BucketService.method.listBuckets, {}, smallPages.url);
    expect(page.nextPageToken).not.toBe("");
    expect(toBinary(BucketService.method.listBuckets.output, page).length).toBeLessThan(65_536);
  });
});

describe("a list of API keys with long scopes", () => {
  const KEYS = 40;
  const PAGE_BYTES = 65_536;
  const { listApiKeys } = ApiKeyService.method;
  const authorization = "Bearer the-root-key-of-tests";
  let guarded: TestService;
  let ids: readonly string[];

  const call = (
    method: string,
    contentType: string,
    body: string | Uint8Array<ArrayBuffer>,
  ): Promise<Response> =>
    fetch(`${guarded.url}/${ApiKeyService.typeName}/${method}`, {
      method: "POST",
      headers: { "content-type": contentType, authorization },
      body,
    });

  beforeAll(async () => {
    guarded = await startTestService({
      "page-bytes-max": `${PAGE_BYTES}`,
      "api-key": "the-root-key-of-tests",
    });
    const accesses = ["ACCESS_READ", "ACCESS_WRITE", "ACCESS_WATCH", "ACCESS_ADMIN"];
    const scopes = Array.from({ length: 32 }, (_, n) => ({ accesses, buckets: `${n}*`.padEnd(64, "b") }));
    const body = JSON.stringify({ name: '"'.repeat(128), scopes });
    const created = Array.from({ length: KEYS }, async () => {
      const response = await call("CreateApiKey", "application/json", body);
      expect(response.status).toBe(200);
      return ((await response.json()) as { apiKey: { id: string } }).apiKey.id;
    });
    ids = (await Promise.all(created)).sort();
  });
  afterAll(() => guarded.remove());

  const asJson = async (pageToken: string): Promise<[number, ListApiKeysResponse]> => {
    const response = await call("ListApiKeys", "application/json", JSON.stringify({ pageToken }));
    const text = await response.text();
    return [Buffer.byteLength(text), fromJsonString(listApiKeys.output, text)];
  };
  const asProto = async (pageToken: string): Promise<[number, ListApiKeysResponse]> => {
    const request = toBinary(listApiKeys.input, create(listApiKeys.input, { pageToken }));
    const response = await call("ListApiKeys", "application/proto", new Uint8Array(request));
    const answer = new Uint8Array(await response.arrayBuffer());
    return [answer.length, fromBinary(listApiKeys.output, answer)];
  };

  it.each([
    ["JSON", asJson],
    ["proto", asProto],
  ])("is complete, in pages below the limit of bytes, as %s", async (_name, page) => {
    const listed: string[] = [];
    const sizes: number[] = [];
    let pageToken = "";
    do {
      const [size, answer] = await page(pageToken);
      sizes.push(size);
      listed.push(...answer.apiKeys.map(({ id }) => id));
      pageToken = answer.nextPageToken;
    } while (pageToken !== "");
    expect(Math.max(...sizes)).toBeLessThanOrEqual(PAGE_BYTES);
    expect(sizes.length).toBeGreaterThan(2);
    expect(listed).toEqual(ids);
  });

  it("is complete over REST, for clients that know no pages", async () => {
    const response = await fetch(`${guarded.url}/api/v1/api-keys`, { headers: { authorization } });
    const listed = (await response.json()) as { api_keys: { id: string }[] };
    expect(listed.api_keys.map(({ id }) => id)).toEqual(ids);
  });
});
