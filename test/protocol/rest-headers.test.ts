/** Conditions and content negotiation. */
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { type PutRequest } from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { KEYS, answers, bridge, lastRequest, send, useBridge } from "../support/rest-answers.js";

useBridge();

describe("conditions", () => {
  it.each([
    ["7", 7n],
    ['"7"', 7n],
    ['W/"7"', 7n],
    [' "7" ', 7n],
    ["18446744073709551615", 2n ** 64n - 1n],
  ])("If-Match %j is a revision", async (ifMatch, revision) => {
    await send("PUT", `${KEYS}/k`, { body: "x", headers: { "if-match": ifMatch } });
    expect(lastRequest<PutRequest>().precondition?.condition).toEqual({
      case: "ifRevision",
      value: revision,
    });
  });

  it.each(['"7-lqx0w8zk"', 'W/"7-lqx0w8zk"', "7-lqx0w8zk"])(
    "If-Match %j names the bucket too",
    async (ifMatch) => {
      await send("PUT", `${KEYS}/k`, { body: "x", headers: { "if-match": ifMatch } });
      const created = timestampFromMs(Number.parseInt("lqx0w8zk", 36));
      expect(lastRequest<PutRequest>().precondition).toMatchObject({
        condition: { case: "ifRevision", value: 7n },
        ifBucketCreatedAt: created,
      });
    },
  );

  it("If-None-Match * is a create", async () => {
    await send("PUT", `${KEYS}/k`, { body: "x", headers: { "if-none-match": "*" } });
    expect(lastRequest<PutRequest>().precondition?.condition).toEqual({ case: "ifAbsent", value: true });
  });

  it.each<[string, Record<string, string>]>([
    ["PUT", { "if-match": "*" }],
    ["PUT", { "if-match": "abc" }],
    ["PUT", { "if-match": '"7' }],
    ["PUT", { "if-match": "'7'" }],
    ["PUT", { "if-match": "0" }],
    ["PUT", { "if-match": "-1" }],
    ["PUT", { "if-match": "1.0" }],
    ["PUT", { "if-match": '"7-"' }],
    ["PUT", { "if-match": '"7-A"' }],
    ["PUT", { "if-match": '"7-zzzzzzzzzzz"' }],
    ["PUT", { "if-match": '"1", "2"' }],
    ["PUT", { "if-match": "18446744073709551616" }],
    ["PUT", { "if-match": "" }],
    ["PUT", { "if-none-match": '"7"' }],
    ["PUT", { "if-match": "7", "if-none-match": "*" }],
    ["DELETE", { "if-match": "*" }],
    ["DELETE", { "if-none-match": "*" }],
  ])("%s with %j is refused", async (method, headers) => {
    const answer = await send(method, `${KEYS}/k`, { body: "x", headers });
    expect([answer.status, answer.json]).toMatchObject([400, { code: "invalid_argument" }]);
    expect(bridge().registry.calls).toEqual([]);
  });

  it.each([
    ["*", 304],
    ["9223372036854775809", 304],
    ['W/"9223372036854775809"', 304],
    ['"1", "x", "9223372036854775809"', 304],
    ['"9223372036854775808"', 200],
    ['"abc"', 200],
    ["", 200],
  ])("GET with If-None-Match %j is %i", async (header, status) => {
    expect((await send("GET", `${KEYS}/k`, { headers: { "if-none-match": header } })).status).toBe(status);
  });

  it.each([
    ["*", 200],
    ['"9223372036854775809"', 200],
    ['"1"', 412],
  ])("GET with If-Match %j is %i", async (header, status) => {
    expect((await send("GET", `${KEYS}/k`, { headers: { "if-match": header } })).status).toBe(status);
  });
});

describe("the form of a value", () => {
  it.each([
    [undefined, "", "json"],
    ["*/*", "", "json"],
    ["text/html,*/*;q=0.8", "", "json"],
    ["application/json", "", "json"],
    ["application/octet-stream", "", "bytes"],
    ["Application/Octet-Stream", "", "bytes"],
    ["application/octet-stream, */*", "", "bytes"],
    ["application/octet-stream;q=0.5, application/json", "", "json"],
    ["application/octet-stream, application/json;q=0.5", "", "bytes"],
    ["application/octet-stream;q=0", "", "json"],
    ["application/octet-stream", "?raw=false", "json"],
    ["application/json", "?raw=true", "bytes"],
  ])("Accept %j with %j gives %s", async (accept, query, form) => {
    const answer = await send("GET", `${KEYS}/k${query}`, {
      headers: accept === undefined ? {} : { accept },
    });
    expect(answer.json === undefined ? "bytes" : "json").toBe(form);
  });

  it.each(["", "bad\r\nset-cookie: x=1", "tëxt"])(
    "a stored content type of %j is shown as bytes",
    async (stored) => {
      answers.contentType = stored;
      const answer = await send("GET", `${KEYS}/k?raw=true`);
      expect(answer.headers["content-type"]).toBe("application/octet-stream");
      expect(answer.headers["set-cookie"]).toBeUndefined();
    },
  );

  it("stores no content type when none is sent", async () => {
    await send("PUT", `${KEYS}/k`, { body: "x" });
    expect(lastRequest<PutRequest>().contentType).toBe("");
  });
});
