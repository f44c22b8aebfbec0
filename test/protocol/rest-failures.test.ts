/** Service errors as HTTP responses. */
import { create } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import { ErrorDetailSchema } from "../../gen/ironflow/kv/v1/types_pb.js";
import { KEYS, answers, bridge, send, useBridge } from "../support/rest-answers.js";

useBridge();

describe("service errors", () => {
  const detail = (reason: string, revision = 0n, retryAfterSeconds?: bigint) => ({
    desc: ErrorDetailSchema,
    value: create(ErrorDetailSchema, {
      reason,
      revision,
      ...(retryAfterSeconds === undefined
        ? {}
        : { retryAfter: create(DurationSchema, { seconds: retryAfterSeconds, nanos: 1 }) }),
    }),
  });

  it.each<[string, Code, number, Record<string, string>]>([
    ["invalid_argument", Code.InvalidArgument, 400, {}],
    ["bucket_not_found", Code.NotFound, 404, {}],
    ["key_not_found", Code.NotFound, 404, {}],
    ["bucket_exists", Code.AlreadyExists, 409, {}],
    ["key_exists", Code.AlreadyExists, 412, { etag: '"5"' }],
    ["revision_mismatch", Code.Aborted, 412, { etag: '"5"' }],
    ["revision_compacted", Code.OutOfRange, 400, {}],
    ["revision_in_future", Code.OutOfRange, 400, {}],
    ["value_too_large", Code.ResourceExhausted, 413, {}],
    ["body_too_large", Code.ResourceExhausted, 413, {}],
    ["answer_too_large", Code.ResourceExhausted, 413, {}],
    ["bucket_full", Code.ResourceExhausted, 507, {}],
    ["storage_exhausted", Code.ResourceExhausted, 507, {}],
    ["rate_limited", Code.ResourceExhausted, 429, { "retry-after": "1" }],
    ["too_many_watches", Code.ResourceExhausted, 429, { "retry-after": "1" }],
    ["unauthenticated", Code.Unauthenticated, 401, { "www-authenticate": "Bearer" }],
    ["permission_denied", Code.PermissionDenied, 403, {}],
    ["unavailable", Code.Unavailable, 503, { "retry-after": "1" }],
    ["shutting_down", Code.Unavailable, 503, { "retry-after": "1" }],
    ["deadline_exceeded", Code.DeadlineExceeded, 504, {}],
    ["outcome_unknown", Code.Unknown, 500, {}],
    ["unimplemented", Code.Unimplemented, 501, {}],
    ["internal", Code.Internal, 500, {}],
    ["a_reason_of_the_future", Code.NotFound, 404, {}],
  ])("%s is answered", async (reason, code, status, headers) => {
    answers.failure = new ConnectError('It "failed".', code, undefined, [detail(reason, 5n)]);
    const answer = await send("GET", `${KEYS}/k`);
    expect([answer.status, answer.json]).toEqual([status, { error: 'It "failed".', code: reason }]);
    expect(answer.headers).toMatchObject(headers);
  });

  it("set Retry-After in whole seconds", async () => {
    answers.failure = new ConnectError("Later.", Code.ResourceExhausted, undefined, [
      detail("rate_limited", 0n, 3n),
    ]);
    expect((await send("GET", `${KEYS}/k`)).headers["retry-after"]).toBe("4");
  });

  it("hide the details of unexpected errors, which are logged", async () => {
    answers.failure = new TypeError("secret");
    const answer = await send("GET", `${KEYS}/k`);
    expect([answer.status, answer.text.includes("secret")]).toEqual([500, false]);
    expect(bridge().faults.splice(0)).toEqual([answers.failure]);
  });
});
