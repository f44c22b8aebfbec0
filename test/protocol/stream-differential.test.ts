/** The streaming path answers as the stock adapter does: the same calls, well-formed and not, sent to both. */
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { RawClient, withBinaryBody } from "./raw-client.js";
import { type TestServer, startTestServer } from "./rpc-service.js";
import { streamRequest } from "./stream-requests.js";

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

/** As in unary-differential.test.ts. */
const seed = Number(process.env.SEED ?? 7);

it("answers streaming calls as the stock adapter does", async () => {
  await fc.assert(
    fc.asyncProperty(streamRequest, async (request) => {
      const [answer, expected] = await Promise.all([fastClient.send(request), stockClient.send(request)]);
      expect(withBinaryBody(answer)).toEqual(withBinaryBody(expected));
    }),
    { numRuns: 400, seed },
  );
  // Most of them came the fast way; else nothing was compared.
  expect(fast.taken).toBeGreaterThan(150);
});
