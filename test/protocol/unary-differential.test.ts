/** The fast path answers as the stock adapter does: the same calls, well-formed and not, sent to both. */
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ENVELOPE_HEAD_BYTES } from "../../src/protocol/rpc/envelope.js";
import { IS_EXTENDED } from "../support/extended.js";
import { binaryBodyOf, type RawAnswer, RawClient, type RawRequest, withBinaryBody } from "./raw-client.js";
import { getRequest, postRequest } from "./unary-requests.js";
import { type TestServer, startTestServer } from "./rpc-service.js";

const POSTS = IS_EXTENDED ? 5_000 : 600;
const GETS = IS_EXTENDED ? 2_000 : 300;

let fast: TestServer;
let stock: TestServer;
let fastClient: RawClient;
let stockClient: RawClient;

beforeAll(async () => {
  [fast, stock] = await Promise.all([startTestServer(true), startTestServer(false)]);
  fastClient = new RawClient(fast.port);
  stockClient = new RawClient(stock.port);
});

afterAll(async () => {
  fastClient.close();
  stockClient.close();
  await Promise.all([fast.stop(), stock.stop()]);
});

/** For a hang. */
const TIMEOUT_MS = 900_000;

/** The same cases in every run. SEED=n tries others. */
const seed = Number(process.env.SEED ?? 7);

async function compare(request: RawRequest): Promise<void> {
  const answers = await Promise.all([fastClient.send(request), stockClient.send(request)]);
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

it("answers POSTs as the stock adapter does", { timeout: TIMEOUT_MS }, async () => {
  await fc.assert(fc.asyncProperty(postRequest, compare), { numRuns: POSTS, seed });
  // Most of them came the fast way; else nothing was compared.
  expect(fast.taken).toBeGreaterThan(POSTS / 2);
});

it("answers GETs as the stock adapter does", { timeout: TIMEOUT_MS }, async () => {
  const takenBefore = fast.taken;
  await fc.assert(fc.asyncProperty(getRequest, compare), { numRuns: GETS, seed });
  expect(fast.taken - takenBefore).toBeGreaterThan(GETS / 4);
});
