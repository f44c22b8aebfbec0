/** The bridge over a registry whose answers a test sets: for tests of what reaches the service, and what its answers look like. */
import { create } from "@bufbuild/protobuf";
import { DurationSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import type { ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, beforeEach } from "vitest";
import {
  CreateBucketResponseSchema,
  GetBucketResponseSchema,
} from "../../gen/ironflow/kv/v1/bucket_service_pb.js";
import {
  type GetRequest,
  GetResponseSchema,
  type ListKeysRequest,
  ListKeysResponseSchema,
  PutResponseSchema,
} from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { BucketSchema, EntrySchema, Operation } from "../../gen/ironflow/kv/v1/types_pb.js";
import { startBridge, type TestBridge } from "./http-bridge.js";
import { send1, type TestAnswer, type TestRequest } from "./http-client.js";

export const KEYS = "/api/v1/kv/buckets/b/keys";
export const VALUE_BYTES_MAX = 1_000;

/** What the service answers with; each test starts with these. */
const DEFAULT_ANSWERS = {
  /** Reads and writes fail with this. */
  failure: undefined as ConnectError | Error | undefined,
  /** The stored content type. */
  contentType: "text/html",
  /** The pages of a listing. */
  pages: [[]] as readonly (readonly string[])[],
};
export const answers = { ...DEFAULT_ANSWERS };

const BUCKET = create(BucketSchema, {
  name: "b",
  description: "d",
  ttl: create(DurationSchema, { seconds: 1n, nanos: 500_000_000 }),
  maxValueSize: 7,
  maxBytes: 2n ** 60n + 1n,
  history: 3,
  values: 2n ** 53n + 1n,
  bytes: 9n,
  createdAt: create(TimestampSchema, { seconds: 1_700_000_000n, nanos: 1_000_000 }),
  revision: 4n,
  replicas: 1,
});

async function* noEvents(): AsyncGenerator<never> {
  // A watch that ends at once.
}

let running: TestBridge | undefined;

/** Starts the bridge before the tests of a file, and ends it after them. */
export function useBridge(): void {
  beforeAll(async () => {
    running = await startBridge(
      {
        get: (request: GetRequest) => {
          if (answers.failure !== undefined) throw answers.failure;
          return create(GetResponseSchema, {
            entry: create(EntrySchema, {
              key: request.key,
              value: new Uint8Array([0, 255, 10]),
              revision: 2n ** 63n + 1n,
              createdAt: create(TimestampSchema, { seconds: 1_700_000_000n, nanos: 1_002_003 }),
              operation: Operation.PUT,
              contentType: answers.contentType,
            }),
          });
        },
        put: () => {
          if (answers.failure !== undefined) throw answers.failure;
          return create(PutResponseSchema, { revision: 8n });
        },
        watch: () => noEvents(),
        createBucket: () => create(CreateBucketResponseSchema, { bucket: BUCKET }),
        getBucket: () =>
          create(GetBucketResponseSchema, {
            bucket: create(BucketSchema, { name: "b", history: 1, createdAt: create(TimestampSchema) }),
          }),
        listKeys: ({ pageToken }: ListKeysRequest) => {
          const page = Number(pageToken);
          return create(ListKeysResponseSchema, {
            keys: [...(answers.pages[page] ?? [])],
            nextPageToken: page + 1 < answers.pages.length ? String(page + 1) : "",
          });
        },
      },
      { limits: { valueBytesMax: VALUE_BYTES_MAX, messageBytesMax: VALUE_BYTES_MAX } },
    );
  });
  afterAll(() => running?.close());
  beforeEach(() => {
    Object.assign(answers, DEFAULT_ANSWERS);
    bridge().registry.calls.length = 0;
  });
}

export function bridge(): TestBridge {
  if (running === undefined) throw new Error("useBridge() comes first");
  return running;
}

/** Sends a request over HTTP/1.1. */
export const send = (method: string, path: string, request?: TestRequest): Promise<TestAnswer> =>
  send1(bridge().url, method, path, request);

/** The request that the service saw last. */
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters
export function lastRequest<Request>(): Request {
  return bridge().registry.calls.at(-1)?.request as Request;
}
