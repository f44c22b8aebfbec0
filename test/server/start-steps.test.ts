/** Every step of a start has an end, and a signal stops the service at each of them. */
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { expect, it } from "vitest";
import { spawn } from "../support/started.js";

const MAIN = join(import.meta.dirname, "../../dist/src/main.js");

interface Ending {
  readonly code: number | null;
  readonly stderr: string;
}

function start(...flags: string[]): { signal: (name: NodeJS.Signals) => void; ended: Promise<Ending> } {
  const child = spawn(process.execPath, [MAIN, "serve", "--port", "0", ...flags], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let stderr = "";
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  const ended = once(child, "close").then(([code]) => ({ code: code as number | null, stderr }));
  return { signal: (name) => void child.kill(name), ended };
}

it.runIf(process.platform === "linux").each(["/proc/x", "/proc/x/y", "/proc/version/x"])(
  "a data directory that cannot exist, %s, ends the start with a sentence",
  async (dataDir) => {
    const { code, stderr } = await start("--data-dir", dataDir).ended;
    expect(stderr).toMatch(new RegExp(`^ironflow-kv: .*${dataDir}`));
    expect(code).toBe(1);
  },
  20_000,
);

it("a start that waits for NATS is stopped by the first signal", async () => {
  const silent = createServer().listen(0, "127.0.0.1");
  await once(silent, "listening");
  const { port } = silent.address() as AddressInfo;
  const connected = once(silent, "connection") as Promise<[Socket]>;
  const service = start(
    ...["--nats-url", `nats://127.0.0.1:${port}`],
    ...["--nats-connect-timeout-ms", "3600000", "--drain-timeout-ms", "100"],
  );
  const [socket] = await connected;
  service.signal("SIGTERM");
  const { code, stderr } = await service.ended;
  expect(stderr).toContain("The start was not complete 100 milliseconds after SIGTERM.");
  expect(code).toBe(1);
  socket.destroy();
  silent.close();
});
