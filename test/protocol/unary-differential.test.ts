/** The fast path answers as the stock adapter does: the same calls, well-formed and not, sent to both. */
import fc from "fast-check";
import { expect } from "vitest";
import { ENVELOPE_HEAD_BYTES } from "../../src/protocol/rpc/envelope.js";
import { IS_EXTENDED } from "../support/extended.js";
import { bothPathsTest as it, seed } from "./both-paths-test.js";
import { binaryBodyOf, type RawAnswer, type RawRequest, withBinaryBody } from "./raw-client.js";
import { getRequest, postRequest } from "./unary-requests.js";

const POSTS = IS_EXTENDED ? 5_000 : 200;
const GETS = IS_EXTENDED ? 2_000 : 100;

/** For a hang. */
const TIMEOUT_MS = 900_000;

function compare(request: RawRequest, answers: readonly [RawAnswer, RawAnswer]): void {
  const [answer, expected] = [withBinaryBody(answers[0]), withBinaryBody(answers[1])];
  // Two messages where one belongs may each be malformed in its own way: either reason is right.
  if (hasManyMessages(request) && isGrpcRefusal(answer) && isGrpcRefusal(expected)) return;
  expect(answer).toEqual(expected);
}

function hasManyMessages(request: RawRequest): boolean {
  const bytes = binaryBodyOf(request);
  if (!request.headers["content-type"]?.startsWith("application/grpc") || bytes.length < ENVELOPE_HEAD_BYTES)
    return false;
  return bytes.length > ENVELOPE_HEAD_BYTES + bytes.readUInt32BE(1);
}

function isGrpcRefusal({ headers, body, trailers }: RawAnswer): boolean {
  const status = headers["grpc-status"] ?? trailers["grpc-status"] ?? /grpc-status: (\d+)/.exec(body)?.[1];
  return status !== undefined && status !== "0";
}

it("answers POSTs as the stock adapter does", { timeout: TIMEOUT_MS }, async ({ fast, sendToBoth }) => {
  await fc.assert(
    fc.asyncProperty(postRequest, async (request) => compare(request, await sendToBoth(request))),
    { numRuns: POSTS, seed },
  );
  // Most of them came the fast way; else nothing was compared.
  expect(fast.taken).toBeGreaterThan(POSTS / 2);
});

it("answers GETs as the stock adapter does", { timeout: TIMEOUT_MS }, async ({ fast, sendToBoth }) => {
  const takenBefore = fast.taken;
  await fc.assert(
    fc.asyncProperty(getRequest, async (request) => compare(request, await sendToBoth(request))),
    { numRuns: GETS, seed },
  );
  expect(fast.taken - takenBefore).toBeGreaterThan(GETS / 4);
});
