import { defineConfig } from "vitest/config";

export default defineConfig({
  // The sources of our packages, not their builds.
  resolve: { conditions: ["source"] },
  ssr: { resolve: { conditions: ["source"] } },
  test: {
    include: ["test/**/*.test.ts", "packages/*/test/**/*.test.ts"],
    setupFiles: ["test/support/setup.ts"],
    testTimeout: 90_000,
    hookTimeout: 90_000,
    // What a busy machine needs for what an idle one does at once.
    expect: { poll: { timeout: 60_000, interval: 20 } },
    // Many tests wait for a server; modules are loaded once for each worker, as no test changes what another one reads.
    maxWorkers: 3,
    isolate: false,
    coverage: {
      provider: "v8",
      include: ["src/**", "packages/*/src/**"],
      reporter: ["text-summary", "json-summary"],
    },
  },
});
