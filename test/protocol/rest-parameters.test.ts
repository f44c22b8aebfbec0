/** Paths and queries: how they map to keys and fields, and which are rejected. */
import { describe, expect, it } from "vitest";
import {
  type GetRequest,
  type ListKeysRequest,
  type WatchRequest,
} from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { sendBytes } from "../support/http-client.js";
import { KEYS, bridge, lastRequest, send, useBridge } from "../support/rest-answers.js";

useBridge();

describe("keys in paths", () => {
  it.each([
    ["a/b", "a/b"],
    ["a%2Fb", "a/b"],
    ["a%2fb", "a/b"],
    ["%252F", "%2F"],
    ["a%25b", "a%b"],
    ["..", ".."],
    ["../../x", "../../x"],
    ["a/./b", "a/./b"],
    ["a/../b", "a/../b"],
    ["%2e%2e/x", "../x"],
    ["/a", "/a"],
    ["a//b", "a//b"],
    ["a/", "a/"],
    ["%00", "\0"],
    ["", ""],
    ["a+b", "a+b"],
    ["a%20b", "a b"],
    ["user:1@x;y,z", "user:1@x;y,z"],
    ["%C3%A4%F0%9F%98%80", "ä😀"],
    ["*", "*"],
    ["%3E", ">"],
    ["%3Fa%23b", "?a#b"],
  ])("takes %j for the key %j", async (path, key) => {
    await send("GET", `${KEYS}/${path}`);
    expect(lastRequest<GetRequest>()).toMatchObject({ bucket: "b", key });
  });

  it.each(["%", "%2", "%zz", "%C3", "%ED%A0%80", "%C0%AF", "%FF"])("refuses %j", async (path) => {
    const answer = await send("GET", `${KEYS}/${path}`);
    expect([answer.status, answer.json]).toEqual([
      400,
      {
        error: `The key in the path is "${path}"; it must be percent-encoded UTF-8.`,
        code: "invalid_argument",
      },
    ]);
    expect(bridge().registry.calls).toEqual([]);
  });

  it("rejects bytes that must be percent-encoded", async () => {
    const request = Buffer.from(
      `GET ${KEYS}/\xe4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
      "latin1",
    );
    expect(await sendBytes(bridge().port, request)).toMatch(/^HTTP\/1\.1 400 /);
  });

  it.each(["[", "a b", "x:y:z", "%", ""])("survives the host %j", async (host) => {
    const request = `GET ${KEYS}/k HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
    expect(await sendBytes(bridge().port, request)).toMatch(/^HTTP\/1\.1 200 /);
  });

  it("accepts the absolute form of a target", async () => {
    const request = `GET http://x:1${KEYS}/k HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`;
    expect(await sendBytes(bridge().port, request)).toMatch(/^HTTP\/1\.1 200 /);
    expect(lastRequest<GetRequest>().key).toBe("k");
  });
});

describe("query parameters", () => {
  it("set the request's fields", async () => {
    await send("GET", `${KEYS}?filter=a.*&filter=b%2Ec&filters=d+e&limit=7&page_token=t%2B`);
    expect(lastRequest<ListKeysRequest>()).toMatchObject({
      filters: ["a.*", "b.c", "d e"],
      limit: 7,
      pageToken: "t+",
    });
    await send("GET", `${KEYS}/k?revision=18446744073709551615`);
    expect(lastRequest<GetRequest>().revision).toBe(2n ** 64n - 1n);
  });

  it.each([
    [
      "GET",
      `${KEYS}?limt=1`,
      'There is no parameter "limt"; this call takes filter, filters, limit, page_token, consistency.',
    ],
    ["GET", `${KEYS}?limit=x`, 'limit is "x"; it must be a whole number from 0 to 4294967295.'],
    ["GET", `${KEYS}?limit=-1`, 'limit is "-1"; it must be a whole number from 0 to 4294967295.'],
    ["GET", `${KEYS}?limit=1.5`, 'limit is "1.5"; it must be a whole number from 0 to 4294967295.'],
    ["GET", `${KEYS}?limit=`, 'limit is ""; it must be a whole number from 0 to 4294967295.'],
    [
      "GET",
      `${KEYS}?limit=4294967296`,
      'limit is "4294967296"; it must be a whole number from 0 to 4294967295.',
    ],
    ["GET", `${KEYS}?limit=1&limit=2`, "limit is set twice; it must be set once."],
    ["GET", `${KEYS}?filter=%zz`, 'The query has "filter=%zz"; it must be percent-encoded UTF-8.'],
    ["GET", `${KEYS}/k?revision=18446744073709551616`, "revision is"],
    ["GET", `${KEYS}/k?raw=yes`, 'raw is "yes"; it must be true or false.'],
    ["GET", `${KEYS}/k?key=x`, 'There is no parameter "key"; this call takes raw, revision, consistency.'],
    ["DELETE", `${KEYS}/k?purge`, 'purge is ""; it must be true or false.'],
    ["DELETE", `${KEYS}/k?if_revision=1`, "this call takes purge."],
    ["PUT", `${KEYS}/k?ttl=1`, "this call takes ttl_seconds."],
    ["GET", "/api/v1/kv/buckets/b?x", 'There is no parameter "x"; this call takes read_mask.'],
    [
      "GET",
      "/api/v1/kv/buckets/b/watch?start=later",
      "it must be one of unspecified, snapshot, now, history.",
    ],
    ["GET", "/api/v1/kv/buckets/b/watch?progress=often", "it must be a duration such as 500ms, 5s or 1m."],
    [
      "GET",
      "/api/v1/kv/buckets/b/watch?bucket_created_at=today",
      "it must be a time such as 2026-01-31T12:00:00Z.",
    ],
  ])("%s %s is refused", async (method, path, sentence) => {
    const answer = await send(method, path, { headers: { accept: "text/event-stream" } });
    expect(answer.status).toBe(400);
    expect((answer.json as { error: string }).error).toContain(sentence);
    expect(bridge().registry.calls).toEqual([]);
  });

  it.each<[string, object]>([
    ["", { start: 0, startRevision: 0n, filters: [] }],
    ["initial=false", { start: 2 }],
    ["initial=true", { start: 0 }],
    ["start=HISTORY", { start: 3 }],
    ["start=start_now", { start: 2 }],
    ["start_revision=5&initial=false", { start: 0, startRevision: 5n }],
    ["key=a.*&key=b", { filters: ["a.*", "b"] }],
    ["progress=true", { progressInterval: { seconds: 15n } }],
    ["progress=1.5s", { progressInterval: { seconds: 1n, nanos: 500_000_000 } }],
    ["progress=2m", { progressInterval: { seconds: 120n, nanos: 0 } }],
    ["ignore_deletes=1&keys_only=0", { ignoreDeletes: true, keysOnly: false }],
    ["bucket_created_at=2023-11-14T22:13:20Z", { bucketCreatedAt: { seconds: 1_700_000_000n } }],
  ])("a watch takes %j", async (query, expected) => {
    await send("GET", `/api/v1/kv/buckets/b/watch?${query}`, { headers: { accept: "text/event-stream" } });
    expect(lastRequest<WatchRequest>()).toMatchObject(expected);
  });
});
