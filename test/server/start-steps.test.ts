/** Every step of a start has an end, and a signal stops the service at each of them. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, it } from "vitest";
import { spawn } from "../support/started.js";
import { until } from "../support/until.js";

const MAIN = join(import.meta.dirname, "../../dist/src/main.js");

interface Ending {
  readonly code: number | null;
  readonly stderr: string;
}

interface Started {
  readonly signal: (name: NodeJS.Signals) => void;
  readonly ended: Promise<Ending>;
}

function start(...flags: string[]): Started {
  return startWith([], ...flags);
}

function startWith(nodeFlags: readonly string[], ...flags: string[]): Started {
  const child = spawn(process.execPath, [...nodeFlags, MAIN, "serve", "--port", "0", ...flags], {
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

it.runIf(process.platform === "linux").each([
  ["TLS_CERT", (fifo: string, file: string) => ["--tls-cert", fifo, "--tls-key", file]],
  ["TLS_KEY", (fifo: string, file: string) => ["--tls-cert", file, "--tls-key", fifo]],
  [
    "TLS_CLIENT_CA",
    (fifo: string, file: string) => ["--tls-cert", file, "--tls-key", file, "--tls-client-ca", fifo],
  ],
  ["NATS_CREDS", (fifo: string) => ["--nats-url", "nats://127.0.0.1:1", "--nats-creds", fifo]],
])(
  "%s that is a FIFO, which nobody writes to, ends the start with a sentence",
  async (setting, flagsOf) => {
    const folder = await mkdtemp(join(tmpdir(), "ironflow-fifo-"));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const [fifo, file] = [join(folder, "fifo"), join(folder, "file")];
    execFileSync("mkfifo", [fifo]);
    await writeFile(file, "");
    const { code, stderr } = await start("--data-dir", join(folder, "data"), ...flagsOf(fifo, file)).ended;
    expect(stderr).toMatch(new RegExp(`^ironflow-kv: ${setting} is .*${fifo}`, "m"));
    expect(code).toBe(1);
  },
  60_000,
);

/** A NATS server that greets its clients, and replies to nothing but pings, or not even that. Resolves with its URL and its first client. */
async function silentNats(greeting: string): Promise<{ url: string; connected: Promise<unknown> }> {
  const sockets = new Set<Socket>();
  const silent = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.write(greeting);
    socket.on("data", (chunk) => {
      if (greeting !== "" && chunk.includes("PING")) socket.write("PONG\r\n");
    });
  }).listen(0, "127.0.0.1");
  await once(silent, "listening");
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    silent.close();
  });
  const { port } = silent.address() as AddressInfo;
  return { url: `nats://127.0.0.1:${port}`, connected: once(silent, "connection") };
}

const INFO = { server_id: "s", server_name: "s", version: "2.15.1", go: "", host: "127.0.0.1", port: 4222 };
const GREETING = `INFO ${JSON.stringify({ ...INFO, headers: true, max_payload: 8_388_608, proto: 1, jetstream: true })}\r\n`;

/** A nats-server that never opens its port. Returns its flags, and the file that has its PID once it runs. */
async function stuckServer(): Promise<{ flags: string[]; pidFile: string }> {
  const folder = await mkdtemp(join(tmpdir(), "ironflow-stuck-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const [program, pidFile] = [join(folder, "nats-server"), join(folder, "pid")];
  const script = `#!/bin/sh\n[ "$1" = --version ] && echo "nats-server: v2.15.1" && exit\necho $$ > ${pidFile}.new && mv ${pidFile}.new ${pidFile}\nexec sleep 3600\n`;
  await writeFile(program, script, { mode: 0o755 });
  return { flags: ["--nats-server-bin", program, "--data-dir", join(folder, "data")], pidFile };
}

function isRunning(pid: string): boolean {
  try {
    process.kill(Number(pid), 0);
    return true;
  } catch {
    return false;
  }
}

it("a start ends when NATS accepts the connection and does not answer JetStream's requests", async () => {
  const { url } = await silentNats(GREETING);
  const { code, stderr } = await start("--nats-url", url, "--nats-connect-timeout-ms", "500").ended;
  expect(stderr).toContain("does not respond to JetStream requests");
  expect(code).toBe(1);
});

it.runIf(process.platform === "linux")("a start ends when nats-server is not ready in time", async () => {
  const { flags, pidFile } = await stuckServer();
  const { code, stderr } = await start(...flags, "--nats-start-timeout-ms", "1000").ended;
  expect(stderr).toBe("ironflow-kv: The embedded nats-server was not ready 1 s after its start.\n");
  expect(code).toBe(1);
  expect(isRunning(readFileSync(pidFile, "utf8"))).toBe(false);
});

/** Node flags with which the service's code is not loaded before a file exists. */
function loadServiceAfter(file: string): string[] {
  const hooks = `
    import { existsSync } from "node:fs";
    import { setTimeout as sleep } from "node:timers/promises";
    export async function load(url, context, next) {
      const untilMs = Date.now() + 20_000;
      while (url.endsWith("/embed.js") && !existsSync(${JSON.stringify(file)})) {
        if (Date.now() > untilMs) throw new Error("nats-server was not started.");
        await sleep(10);
      }
      return next(url, context);
    }`;
  const moduleOf = (source: string): string => `data:text/javascript,${encodeURIComponent(source)}`;
  const registration = `import { register } from "node:module"; register(${JSON.stringify(moduleOf(hooks))});`;
  return ["--import", moduleOf(registration)];
}

it.runIf(process.platform === "linux")(
  "nats-server is started before the service's code is loaded",
  async () => {
    const { flags, pidFile } = await stuckServer();
    const nodeFlags = loadServiceAfter(pidFile);
    const { stderr } = await startWith(nodeFlags, ...flags, "--nats-start-timeout-ms", "1000").ended;
    expect(stderr).toBe("ironflow-kv: The embedded nats-server was not ready 1 s after its start.\n");
    expect(isRunning(readFileSync(pidFile, "utf8"))).toBe(false);
  },
);

it.runIf(process.platform === "linux")(
  "a start that waits for nats-server is stopped by the first signal, and leaves nothing running",
  async () => {
    const { flags, pidFile } = await stuckServer();
    const service = start(...flags, "--drain-timeout-ms", "100");
    const pid = (): string => {
      try {
        return readFileSync(pidFile, "utf8");
      } catch {
        return "";
      }
    };
    await until("nats-server runs", () => pid() !== "");
    service.signal("SIGTERM");
    expect((await service.ended).code).toBe(1);
    await until("nats-server has ended", () => !isRunning(pid()));
  },
);

it.each([
  ["NATS", ""],
  ["JetStream", GREETING],
])("a start that waits for %s is stopped by the first signal", async (_, greeting) => {
  const { url, connected } = await silentNats(greeting);
  const service = start(
    ...["--nats-url", url],
    ...["--nats-connect-timeout-ms", "3600000", "--drain-timeout-ms", "100"],
  );
  await connected;
  service.signal("SIGTERM");
  const { code, stderr } = await service.ended;
  expect(stderr).toContain("The start was not complete 100 milliseconds after SIGTERM.");
  expect(code).toBe(1);
});
