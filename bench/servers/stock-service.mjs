// The same service as the Connect library serves it on Node's own HTTP/2 server, before our handlers and our store.
import { createServer } from "node:net";
import { pino } from "pino";
import { loadConfig } from "../../dist/src/config/config.js";
import { NodeHttp2 } from "../../dist/src/listener/http2/node-http2.js";
import { createJetStreamStore } from "../../dist/src/nats/store.js";
import { Feeds } from "../../dist/src/nats/feed/feeds.js";
import { WatchHubs } from "../../dist/src/nats/watch/hubs.js";
import { createStockAdapter } from "../../dist/src/protocol/stock-adapter.js";
import { Health } from "../../dist/src/service/health.js";
import { createRegistry } from "../../dist/src/service/registry.js";
import { connectStorage } from "../../dist/src/storage.js";

const log = pino({ level: "error" });
const config = loadConfig({ NATS_URL: process.argv[2], ALLOW_ANONYMOUS: "true" }, {});
const { limits } = config;
const undo = [];
const nats = await connectStorage({ config, log, undo, isEmbeddedElsewhere: false });
const { isClustered } = nats;
const feeds = new Feeds({ link: nats.feed, bulk: nats.bulk, isClustered, limits, log });
const watches = new WatchHubs({ link: nats.bulk, feeds, isClustered, limits });
const store = createJetStreamStore({ ...nats, isExclusive: false, limits, feeds, watches, replicas: 1 });
const registry = createRegistry({
  store,
  limits,
  health: new Health(() => Promise.resolve()),
  reflection: false,
});
const handle = createStockAdapter({ registry, limits, log });
const http2 = new NodeHttp2({ limits, handler: { handle }, onFault: (error) => log.error(error) });
const server = createServer({ noDelay: true }, (socket) => http2.accept(socket));
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
