/** Tests of the command line against a service with an API key, with a bucket for each test. */
import { type Bucket, createClient, type KeyValue } from "@ironflow-kv/client";
import { serviceTest } from "../support/fixtures.js";
import { freshName } from "../support/service.js";
import { run, type Run, type RunOptions } from "./support.js";

export const API_KEY = "the-right-key-of-tests";

export const verbTest = () =>
  serviceTest({ "api-key": API_KEY })
    .extend("kv", { scope: "file" }, ({ service }): KeyValue =>
      createClient({ serverUrl: service.url, apiKey: API_KEY }).kv(),
    )
    .extend("bucket", async ({ kv }): Promise<Bucket> => {
      const { name } = await kv.createBucket({ name: freshName(), history: 5 });
      return kv.bucket(name);
    })
    .extend("bucketName", ({ bucket }) => bucket.name)
    /** Runs a command line against the service, with the right key. */
    .extend("cli", ({ service }) => (args: readonly string[], options: RunOptions = {}): Promise<Run> => {
      const env = { IRONFLOW_SERVER: service.url, IRONFLOW_API_KEY: API_KEY, ...options.env };
      return run(args, { ...options, env });
    });
