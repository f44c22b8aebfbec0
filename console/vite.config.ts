/** Builds the console into dist/console of the service's package. */
import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vite";

const root = fileURLToPath(new URL(".", import.meta.url));

/** The console is in English: leaves the texts of other languages out of the component library. */
const englishOnly: Plugin = {
  name: "english-only",
  enforce: "pre",
  resolveId(source, importer) {
    const isTranslation = /^\.{1,2}\/.*\b[a-z]{2}-[A-Z]{2}\.(mjs|js|cjs)$/.test(source);
    if (!isTranslation || source.includes("en-US") || !/react-(aria|stately)/.test(importer ?? ""))
      return null;
    return "\0no-translation";
  },
  load: (id) => (id === "\0no-translation" ? "export default {};" : null),
};

export default defineConfig({
  root,
  base: "/",
  // The sources of the generated code: the console builds without a build of the SDK.
  resolve: { alias: { "@ironflow-kv/client/gen": `${root}../packages/client/src/gen.ts` } },
  plugins: [englishOnly],
  build: {
    outDir: fileURLToPath(new URL("../dist/console", import.meta.url)),
    emptyOutDir: true,
    target: "es2022",
    assetsDir: "assets",
    // The policy of the page allows files of the service only, no data: URLs.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    license: true,
    chunkSizeWarningLimit: 1_200,
    // Libraries mark their modules for server rendering; nothing is rendered on a server here. Timings depend on the machine.
    rolldownOptions: {
      onLog: (level, log, handle) =>
        ["MODULE_LEVEL_DIRECTIVE", "PLUGIN_TIMINGS"].includes(log.code ?? "")
          ? undefined
          : handle(level, log),
    },
  },
  server: { proxy: { "/api": "http://127.0.0.1:9123", "/ironflow.kv.v1.": "http://127.0.0.1:9123" } },
});
