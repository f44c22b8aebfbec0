import { join } from "node:path";
import { defineConfig } from "vitest/config";
import { LongestFirst } from "./test/support/longest-first.js";

const BROWSER_SDK = join(import.meta.dirname, "packages/client/src/index.ts");

/** Tests of the SDK that mostly wait, above the transports. DOORS=all, as `.ci/run` sets it, runs them over both. */
const SLOW_OVER_FETCH =
  process.env.DOORS === "all"
    ? []
    : ["leases", "write-attempts", "watch-resume", "atomic"].map((name) => `test/client/${name}.test.ts`);

export default defineConfig({
  // The sources of our packages, not their builds.
  resolve: { conditions: ["source", "node"] },
  ssr: { resolve: { conditions: ["source", "node"] } },
  test: {
    setupFiles: ["test/support/setup.ts"],
    /**
     * connect-node 2.1.2 throws this out of reach of its callers when a server leaves in the moment of a call: `onGoaway` destroys the session
     * with an error, and the call takes the session's error listener away before Node emits it (http2-session-manager.js, `onExitState`).
     */
    onUnhandledError: ({ message }) => !message.includes("received GOAWAY without any open streams"),
    // For a test that hangs: longer than every wait within one.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    // What a busy machine needs for what an idle one does at once.
    expect: { poll: { timeout: 60_000, interval: 20 } },
    // Two cores' worth, as most tests wait for a server. Modules are loaded once for each worker: no test changes what another one reads.
    maxWorkers: 6,
    isolate: false,
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        extends: true,
        test: { name: "all", include: ["test/**/*.test.ts", "packages/*/test/**/*.test.ts"] },
      },
      // The tests of the SDK run over HTTP/2, and once more over the transport of browsers.
      {
        extends: true,
        resolve: { alias: { "@ironflow-kv/client": BROWSER_SDK } },
        test: {
          name: "SDK over fetch",
          include: ["test/client/**/*.test.ts"],
          exclude: ["test/client/http2-*.test.ts", ...SLOW_OVER_FETCH],
        },
      },
    ],
    coverage: {
      provider: "v8",
      include: ["src/**", "packages/*/src/**"],
      reporter: ["text-summary", "json-summary"],
    },
  },
});
