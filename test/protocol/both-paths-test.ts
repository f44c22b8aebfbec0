/* eslint-disable no-empty-pattern -- Vitest reads the names of fixtures from the pattern. */
/** Tests that send the same requests to the fast path and to the stock adapter. */
import { test } from "vitest";
import { type RawAnswer, RawClient, type RawRequest } from "./raw-client.js";
import { startTestServer, type TestServer } from "./rpc-service.js";

/** The same cases in every run. SEED=n tries others. */
export const seed = Number(process.env.SEED ?? 7);

type SendToBoth = (request: RawRequest) => Promise<readonly [fast: RawAnswer, stock: RawAnswer]>;

export const bothPathsTest = test
  .extend("fast", { scope: "file" }, async ({}, { onCleanup }): Promise<TestServer> => {
    const server = await startTestServer(true);
    onCleanup(() => server.stop());
    return server;
  })
  .extend("stock", { scope: "file" }, async ({}, { onCleanup }): Promise<TestServer> => {
    const server = await startTestServer(false);
    onCleanup(() => server.stop());
    return server;
  })
  .extend("sendToBoth", { scope: "file" }, ({ fast, stock }, { onCleanup }): SendToBoth => {
    const [toFast, toStock] = [new RawClient(fast.port), new RawClient(stock.port)];
    onCleanup(() => {
      toFast.close();
      toStock.close();
    });
    return (request) => Promise.all([toFast.send(request), toStock.send(request)]);
  });
