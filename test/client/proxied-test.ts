/** Tests of the SDK over a connection that can be cut: `proxied` is the bucket `direct` through a proxy. */
import { type Bucket, type ClientOptions, createClient, type KeyValue } from "@ironflow-kv/client";
import { serviceTest } from "../support/fixtures.js";
import { freshName } from "../support/service.js";
import { CuttableProxy } from "./cuttable-proxy.js";

export const RETRY = { baseDelayMs: 5, maxDelayMs: 50 };

export const proxiedTest = (options: Omit<ClientOptions, "serverUrl"> = {}, history = 3) =>
  serviceTest()
    .extend("kv", { scope: "file" }, ({ service }): KeyValue => createClient({ serverUrl: service.url }).kv())
    .extend("direct", async ({ kv }): Promise<Bucket> => {
      const { name } = await kv.createBucket({ name: freshName(), history });
      return kv.bucket(name);
    })
    .extend("proxy", async ({ service }, { onCleanup }): Promise<CuttableProxy> => {
      const proxy = await CuttableProxy.to(service);
      onCleanup(() => proxy.refuse());
      return proxy;
    })
    .extend("proxied", ({ proxy, direct }): Bucket => {
      const client = createClient({ serverUrl: proxy.url, retry: RETRY, ...options });
      return client.kv().bucket(direct.name);
    });
