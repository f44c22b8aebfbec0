/** A watch that is left lets go of its connection, whatever the runtime has forgotten meanwhile. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect } from "vitest";
import { createClient } from "@ironflow-kv/client";
import { serviceTest } from "../support/fixtures.js";
import { freshName } from "../support/service.js";
import { CuttableProxy } from "./cuttable-proxy.js";

const it = serviceTest();

/** Tidies memory up: Node's fetch holds a request's signal weakly. */
function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
}

it.for(["return", "signal"] as const)(
  "is closed by %s, also after a garbage collection",
  async (how, { service }) => {
    const { name } = await createClient({ serverUrl: service.url }).kv().createBucket({ name: freshName() });
    const proxy = await CuttableProxy.to(service);
    const bucket = createClient({ serverUrl: proxy.url, http2: { idleTimeoutMs: 500, pingIntervalMs: 100 } })
      .kv()
      .bucket(name);
    const leaving = new AbortController();
    const watch = bucket.watch([], { marks: true, signal: leaving.signal });
    expect((await watch.next()).value).toMatchObject({ type: "snapshot_end" });
    expect(proxy.connections).toBe(1);
    collectGarbage();
    // Weak references stay good until the current turn ends.
    await new Promise((resolve) => setImmediate(resolve));
    collectGarbage();
    if (how === "return") await watch.return();
    else leaving.abort();
    await proxy.untilEmpty();
    await proxy.refuse();
  },
);
