// The stock Connect server for Node: answers Get with a fixed value, from memory.
import { createServer } from "node:http2";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { KeyValueService } from "../../dist/packages/client/src/gen.js";

const value = new Uint8Array(Number(process.argv[2] ?? 128)).fill(120);
const routes = (router) =>
  router.service(KeyValueService, {
    get: (request) => ({ entry: { key: request.key, value, revision: 1n } }),
  });
const server = createServer({ settings: { maxConcurrentStreams: 1000 } }, connectNodeAdapter({ routes }));
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
