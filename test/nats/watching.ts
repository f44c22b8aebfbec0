/** What tests of watches share: opening, reading as text, waiting. */
import type { NatsConnection } from "@nats-io/transport-node";
import { DEFAULT_LIMITS, type Limits } from "../../src/kv/limits.js";
import type { CallContext } from "../../src/kv/call-context.js";
import type { WatchEvent } from "../../src/kv/watch.js";
import type { StreamInfo } from "../../src/nats/client/jetstream-api.js";
import type { ConfigureStream } from "../../src/nats/feed/feed-source.js";
import { Feeds } from "../../src/nats/feed/feeds.js";
import { WatchHubs } from "../../src/nats/watch/hubs.js";
import { scope as scopeOf } from "./store-contract.js";
import { linkOf } from "./store-support.js";
import type { Watcher } from "../../src/nats/watch/watcher.js";

const quiet = {
  info: () => undefined,
  debug: () => undefined,
};

/** Hubs that close their feeds too. */
class HubsWithFeeds extends WatchHubs {
  constructor(
    options: ConstructorParameters<typeof WatchHubs>[0],
    private readonly feeds: Feeds,
  ) {
    super(options);
  }

  override async close(): Promise<void> {
    await super.close();
    await this.feeds.close();
  }
}

/** Hubs over one connection. `configure`: what makes streams republish; default: an update that respects no lease. */
export function newHubs(
  connection: NatsConnection,
  limits: Partial<Limits> = {},
  isClustered = false,
  configure: ConfigureStream = configureBy(connection),
): WatchHubs {
  const allLimits = { ...DEFAULT_LIMITS, ...limits };
  const link = linkOf(connection, allLimits);
  const feeds = new Feeds({ link, bulk: link, isClustered, limits: allLimits, log: quiet, configure });
  return new HubsWithFeeds({ link, feeds, isClustered, limits: allLimits }, feeds);
}

export function configureBy(connection: NatsConnection): ConfigureStream {
  return async ({ stream }, edit) => {
    const ask = async (operation: string, body: object): Promise<StreamInfo> => {
      const reply = await connection.request(`$JS.API.${operation}.${stream}`, JSON.stringify(body), {
        timeout: 60_000,
      });
      const answer = reply.json<StreamInfo & { error?: { description: string } }>();
      if (answer.error !== undefined) throw new Error(answer.error.description);
      return answer;
    };
    return ask("STREAM.UPDATE", edit(await ask("STREAM.INFO", {})));
  };
}

export function scope(signal = new AbortController().signal): CallContext {
  return scopeOf(undefined, signal);
}

/** The next events as short text, such as `put a=1 @3`. */
export async function read(watcher: Watcher, count: number): Promise<string[]> {
  const lines: string[] = [];
  while (lines.length < count) {
    const result = await watcher.next();
    if (result.done === true) throw new Error(`ended after ${lines.join(", ")}`);
    lines.push(line(result.value));
  }
  return lines;
}

export function line(event: WatchEvent): string {
  const gone = event.superseded === undefined ? "" : ` after ${event.superseded} superseded`;
  if (event.type !== "change") return `${event.type} @${String(event.revision)}${gone}`;
  const { entry, previous } = event;
  const value = entry.operation === "put" ? `=${Buffer.from(entry.value).toString()}` : "";
  const before = previous === undefined ? "" : ` was ${Buffer.from(previous.value).toString()}`;
  return `${entry.operation} ${entry.key}${value} @${String(entry.revision)}${before}${gone}`;
}

/** A short wait, for what can only be looked at again. */
export function tick(timeMs = 10): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, timeMs));
}

/** Subscriptions of the connection: one may be the client's own, for answers. */
export function subscriptions(of: NatsConnection): number {
  const { protocol } = of as unknown as { protocol: { subscriptions: { size(): number } } };
  return protocol.subscriptions.size();
}
