// Programs that a benchmark starts, and ends by their ids.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, connect } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { connect as connectNats } from "@nats-io/transport-node";
import { findProgram } from "../dist/src/nats/embedded/server-program.js";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const running = [];

/** Ends everything that was started, last first, and removes its data. */
export async function stopAll() {
  for (const stop of running.splice(0).reverse()) await stop();
}

/** Whether a program is on PATH. */
export function has(program) {
  return (process.env.PATH ?? "").split(delimiter).some((folder) => existsSync(join(folder, program)));
}

/** A port that was free a moment ago. */
export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

function start(program, args, env = {}, ...channels) {
  const child = spawn(program, args, {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe", ...channels],
  });
  child.stderr.resume();
  running.push(() => end(child));
  return child;
}

async function end(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), 5_000);
  await exited;
  clearTimeout(timer);
}

async function untilOpen(port, child) {
  while (child.exitCode === null) {
    const socket = connect(port, "127.0.0.1");
    const isOpen = await once(socket, "connect").then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (isOpen) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`a server ended with code ${child.exitCode}`);
}

async function temporaryFolder() {
  const folder = await mkdtemp(join(tmpdir(), "ironflow-bench-"));
  running.push(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A nats-server with file storage: `safe` has each write on disk before it is acknowledged. */
export async function startNats(durability) {
  const { program } = await findProgram({ serverBin: process.env.NATS_SERVER_BIN });
  const folder = await temporaryFolder();
  const port = await freePort();
  const sync = durability === "safe" ? "always" : "2m";
  const config = `listen: "127.0.0.1:${port}"\nmax_payload: 8MB\njetstream { store_dir: "${folder}", sync_interval: ${sync} }\n`;
  await writeFile(join(folder, "nats.conf"), config);
  let child = start(program, ["-c", join(folder, "nats.conf")]);
  await untilOpen(port, child);
  return {
    url: `nats://127.0.0.1:${port}`,
    pid: child.pid,
    /** Kills it at once and starts it again on the same port and data. */
    async crash() {
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
      child = start(program, ["-c", join(folder, "nats.conf")]);
      await untilOpen(port, child);
    },
  };
}

/** Three nats-servers that are a cluster; their URLs. `safe` has each node sync writes before it acknowledges them. */
export async function startNatsCluster(durability) {
  const { program } = await findProgram({ serverBin: process.env.NATS_SERVER_BIN });
  const ports = await Promise.all(Array.from({ length: 6 }, freePort));
  const routes = ports.slice(3).map((port) => `"nats://127.0.0.1:${port}"`);
  const servers = ports.slice(0, 3).map(async (port, index) => {
    const folder = await temporaryFolder();
    const file = join(folder, "nats.conf");
    await writeFile(
      file,
      `listen: "127.0.0.1:${port}"
server_name: n${index}
max_payload: 8MB
jetstream { store_dir: "${folder}", sync_interval: ${durability === "safe" ? "always" : "2m"} }
cluster { name: bench, listen: "127.0.0.1:${ports[index + 3]}", routes: [${routes.join(", ")}] }
`,
    );
    await untilOpen(port, start(program, ["-c", file]));
    return `nats://127.0.0.1:${port}`;
  });
  return Promise.all(servers);
}

const PUBLISHED_AT_ONCE = 1_000;

/** Our service on a server of its own, whose bucket `big` has the keys with this value; `startMs` as in {@link startService}. */
export async function startFilled(keys, value) {
  const env = { DATA_DIR: await temporaryFolder() };
  const empty = await startService(undefined, env);
  const bucket = { method: "POST", headers: { "content-type": "application/json" }, body: '{"name":"big"}' };
  await fetch(`http://127.0.0.1:${empty.port}/api/v1/kv/buckets`, bucket);
  await running.pop()();
  const { program } = await findProgram({ serverBin: process.env.NATS_SERVER_BIN });
  const port = await freePort();
  const file = join(env.DATA_DIR, "bench.conf");
  await writeFile(file, `listen: "127.0.0.1:${port}"\njetstream { store_dir: "${env.DATA_DIR}" }\n`);
  await untilOpen(port, start(program, ["-c", file]));
  const nats = await connectNats({ servers: `127.0.0.1:${port}` });
  for (let at = 0; at < keys.length; at += PUBLISHED_AT_ONCE) {
    const subjects = keys.slice(at, at + PUBLISHED_AT_ONCE).map((key) => `$KV.APP_big.${key}`);
    const last = subjects.pop();
    for (const subject of subjects) nats.publish(subject, value);
    // The server stores a connection's messages in their order: this answer is the last.
    await nats.request(last, value, { timeout: 60_000 });
  }
  await nats.close();
  await running.pop()();
  const service = await startService(undefined, env);
  /** Stops the service, which must be what was started last, and starts it again on its data. */
  const restart = async () => {
    await running.pop()();
    return startService(undefined, env);
  };
  return { ...service, restart };
}

/** Our service on a NATS server, or on one of its own; `startMs` is the time to its first answer. */
export async function startService(natsUrl, env = {}) {
  const port = await freePort();
  const storage =
    natsUrl !== undefined ? { NATS_URL: natsUrl } : env.DATA_DIR ? {} : { DATA_DIR: await temporaryFolder() };
  const startMs = performance.now();
  const child = start(process.execPath, ["dist/src/main.js", "serve"], {
    PORT: String(port),
    ...storage,
    LOG_LEVEL: "warn",
    ...env,
  });
  child.stdout.resume();
  await untilOpen(port, child);
  await (await fetch(`http://127.0.0.1:${port}/readyz`)).text();
  return { port, pid: child.pid, startMs: performance.now() - startMs };
}

/** Our service in a process that tells what it uses: `usage()` collects garbage first. */
export async function startMeasuredService(natsUrl, env = {}) {
  const settings = { PORT: "0", NATS_URL: natsUrl, LOG_LEVEL: "warn", ...env };
  const child = start(process.execPath, ["--expose-gc", "bench/servers/service.mjs"], settings, "ipc");
  child.stdout.resume();
  const [{ port }] = await once(child, "message");
  return {
    port,
    pid: child.pid,
    /** `process.memoryUsage()`, `cpuMs`, and how many `timers` and `sockets` there are. */
    async usage() {
      const answer = once(child, "message");
      child.send("usage");
      return (await answer)[0];
    },
    /** `maxMs` and `p99Ms`: how late the event loop's timers were since this was asked before. */
    async eventLoop() {
      const answer = once(child, "message");
      child.send("eventLoop");
      return (await answer)[0];
    },
    stop: () => end(child),
  };
}

/** One of bench/servers. */
export async function startServer(name, ...args) {
  const child = start(process.execPath, [join("bench/servers", name), ...args]);
  const [line] = await once(child.stdout, "data");
  return { port: Number(String(line).trim()), pid: child.pid };
}

/** A script of bench/ that talks over an IPC channel: `ask` sends a message and resolves with the answer. */
export async function startScript(path, ...args) {
  const child = start(process.execPath, [join("bench", path), ...args.map(String)], {}, "ipc");
  child.stdout.resume();
  await once(child, "message");
  return {
    pid: child.pid,
    send: (message) => child.send(message),
    async ask(message) {
      const answer = once(child, "message");
      child.send(message);
      return (await answer)[0];
    },
  };
}

/** Milliseconds of CPU that a process has used since its start. Linux: ticks of 10 ms. */
export function cpuMsOf(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** etcd with its own folder; `program` from rivals.mjs. */
export async function startEtcd(program, ...options) {
  const member = await newEtcdMember("default");
  const child = await startEtcdMember(program, member, [member], options);
  return { port: member.port, pid: child.pid };
}

/** Three etcds that are a cluster; the ports for clients, and the ids of the processes. */
export async function startEtcdCluster(program) {
  const members = await Promise.all(["e0", "e1", "e2"].map(newEtcdMember));
  const children = await Promise.all(members.map((member) => startEtcdMember(program, member, members, [])));
  return { ports: members.map(({ port }) => port), pids: children.map(({ pid }) => pid) };
}

async function newEtcdMember(name) {
  return { name, folder: await temporaryFolder(), port: await freePort(), peerPort: await freePort() };
}

async function startEtcdMember(program, { name, folder, port, peerPort }, members, options) {
  const client = `http://127.0.0.1:${port}`;
  const peer = `http://127.0.0.1:${peerPort}`;
  const cluster = members.map((each) => `${each.name}=http://127.0.0.1:${each.peerPort}`).join(",");
  const child = start(program, [
    ...["--name", name, "--data-dir", folder, "--log-level", "error"],
    ...["--listen-client-urls", client, "--advertise-client-urls", client],
    ...["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer],
    ...["--initial-cluster", cluster],
    ...options,
  ]);
  child.stdout.resume();
  await untilOpen(port, child);
  return child;
}
