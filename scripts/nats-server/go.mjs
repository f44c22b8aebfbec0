/** Builds the program with Go, which verifies the source with the Go checksum database. */
import { join } from "node:path";
import { run } from "./run.mjs";

const BUILD_TIMEOUT_MS = 600_000;

/** Resolves with the path of the program. */
export async function fromGo({ scratch, go, fileName, env }) {
  await run(["go", "install", "-trimpath", `${go.module}@v${go.version}`], {
    cwd: scratch,
    env: { ...env, GOBIN: scratch, CGO_ENABLED: "0" },
    timeoutMs: BUILD_TIMEOUT_MS,
  });
  return join(scratch, fileName);
}
