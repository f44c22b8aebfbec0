/** A real service and its REST calls, with a fresh bucket for each test. */
import { afterAll, beforeAll, beforeEach, expect } from "vitest";
import { send1, type TestAnswer, type TestRequest } from "./http-client.js";
import { freshName, startTestService, type TestService } from "./service.js";

export const BUCKETS = "/api/v1/kv/buckets";
export const RFC_3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{3}|\.\d{9})Z$/;

let service: TestService | undefined;
let bucketName = "";

/** Starts a service before the tests of a file, and ends it after them. */
export function useRestService(): void {
  beforeAll(async () => {
    service = await startTestService();
  }, 60_000);
  afterAll(() => service?.remove());
  beforeEach(() => useNewBucket({}));
}

/** The bucket of this test. */
export const bucket = (): string => bucketName;

/** Makes another bucket, with settings, the one of this test. */
export async function useNewBucket(settings: object): Promise<void> {
  bucketName = freshName("rest");
  expect((await createBucket({ name: bucketName, ...settings })).status).toBe(201);
}

export function send(method: string, path: string, request?: TestRequest): Promise<TestAnswer> {
  if (service === undefined) throw new Error("useRestService() comes first");
  return send1(service.url, method, path, request);
}

export function createBucket(settings: object): Promise<TestAnswer> {
  return send("POST", BUCKETS, {
    body: JSON.stringify(settings),
    headers: { "content-type": "application/json" },
  });
}

export const keyPath = (key: string): string => `${BUCKETS}/${bucketName}/keys/${key}`;
export const get = (key: string, headers: Record<string, string> = {}): Promise<TestAnswer> =>
  send("GET", keyPath(key), { headers });
export const put = (
  key: string,
  body: string | Uint8Array,
  headers: Record<string, string> = {},
): Promise<TestAnswer> => send("PUT", keyPath(key), { body, headers });
export const remove = (key: string, headers: Record<string, string> = {}): Promise<TestAnswer> =>
  send("DELETE", keyPath(key), { headers });

/** The revision of a write that must go well. */
export async function revisionOf(answer: Promise<TestAnswer>): Promise<number> {
  const { status, json, headers } = await answer;
  expect(status).toBe(200);
  const { revision } = json as { revision: number };
  expect(headers.etag).toMatch(new RegExp(`^"${revision}-[0-9a-z]+"$`));
  expect(json).toEqual({ revision: expect.any(Number) as number });
  return revision;
}

export function expectError(answer: TestAnswer, status: number, code: string): void {
  expect([answer.status, answer.json]).toEqual([status, { error: expect.any(String) as string, code }]);
}
