/** Tests of backups: a service, and a file for the backup of each test. */
import { join } from "node:path";
import { createClient, type ImportedEntry, type KeyValue } from "@ironflow-kv/client";
import { serviceTest } from "../support/fixtures.js";
import { freshName } from "../support/service.js";
import { fill } from "./backup-support.js";
import { run, type Run, type RunOptions } from "./support.js";

let fileCount = 0;

/** `apiKey`: the service's, which `kv` and `cli` send. */
export const backupTest = (apiKey?: string) =>
  serviceTest(apiKey === undefined ? {} : { "api-key": apiKey })
    .extend("kv", { scope: "file" }, ({ service }): KeyValue => {
      const key = apiKey === undefined ? {} : { apiKey };
      return createClient({ serverUrl: service.url, ...key }).kv();
    })
    .extend("env", { scope: "file" }, ({ service }): Record<string, string> => ({
      IRONFLOW_SERVER: service.url,
      ...(apiKey === undefined ? {} : { IRONFLOW_API_KEY: apiKey }),
    }))
    .extend("file", ({ folder }) => join(folder, `backup-${++fileCount}`))
    .extend("cli", ({ env }) => (args: readonly string[], options: RunOptions = {}): Promise<Run> => {
      return run(args, { ...options, env: { ...env, ...options.env } });
    })
    .extend(
      "newBucket",
      ({ kv }) =>
        async (history = 1, entries: readonly ImportedEntry[] = []): Promise<string> => {
          const { name } = await kv.createBucket({ name: freshName(), history });
          await fill(kv, name, entries);
          return name;
        },
    );
