// The same service as stock connect-node serves it: its adapter on Node's own HTTP/2 server, before our handlers and our store.
import { createServer } from "node:http2";
import { pino } from "pino";
import { loadConfig } from "../../dist/src/config/config.js";
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
const server = createServer(
  { settings: { maxConcurrentStreams: 1000 } },
  createConnectAdapter({ registry, limits, log }),
);
// As our own streams have it: calls ask their connection who is there.
server.prependListener("stream", (stream) => (stream.connection = stream.session));
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
