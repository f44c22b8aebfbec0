// Load by h2load (Debian's nghttp2-client): a separate program in C, several times faster than any server measured here.
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/**
 * Sends one request over and over for a time. `target`: { port, path, method, headers, body, http1 }.
 * Returns calls per second, p50 and p99 in milliseconds, how many failed, and how much of a core the generator itself took: one
 * that took all of it would have been what was measured.
 */
export async function load(target, inFlight, durationMs) {
  const folder = mkdtempSync(join(tmpdir(), "ironflow-load-"));
  try {
    const log = join(folder, "log");
    const connections = target.http1 ? inFlight : Math.min(4, inFlight);
    const args = ["-c", String(connections), "-m", String(target.http1 ? 1 : inFlight / connections)];
    args.push("-D", `${durationMs}ms`, "--warm-up-time", "300ms", `--log-file=${log}`);
    if (target.http1) args.push("--h1");
    for (const [name, value] of Object.entries(target.headers ?? {})) args.push("-H", `${name}: ${value}`);
    if (target.method) args.push("-H", `:method: ${target.method}`);
    if (target.body) {
      writeFileSync(join(folder, "body"), target.body);
      args.push("-d", join(folder, "body"));
    }
    const running = run("h2load", [...args, `http://127.0.0.1:${target.port}${target.path}`], {
      timeout: durationMs + 30_000,
      maxBuffer: 1 << 24,
    });
    const share = watchShare(running.child.pid);
    const { stdout } = await running;
    const coreShare = share.stop();
    const perSecond = Number(/finished in [^,]+, ([\d.]+) req\/s/.exec(stdout)?.[1]);
    const ok = Number(/(\d+) 2xx/.exec(stdout)?.[1]);
    const bad = Number(/(\d+) failed/.exec(stdout)?.[1]);
    if (!(ok > 0)) throw new Error(`no call to ${target.path} went well: ${stdout.slice(-400)}`);
    return { perSecond, failed: bad, coreShare, ...percentiles(readFileSync(log, "utf8")) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** How much of one core a process takes, from now until it is stopped. Linux: ticks of 10 ms in /proc. */
function watchShare(pid) {
  const startMs = performance.now();
  let [usedMs, untilMs] = [0, startMs];
  const timer = setInterval(() => {
    try {
      const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
      [usedMs, untilMs] = [(Number(fields[11]) + Number(fields[12])) * 10, performance.now()];
    } catch {
      // It ended since.
    }
  }, 100);
  return {
    stop() {
      clearInterval(timer);
      return untilMs > startMs ? usedMs / (untilMs - startMs) : 0;
    },
  };
}

/** The third column of h2load's log is each call's time in microseconds. */
function percentiles(log) {
  const times = [];
  for (const line of log.split("\n")) {
    const tab = line.lastIndexOf("\t");
    if (tab > 0) times.push(Number(line.slice(tab + 1)));
  }
  times.sort((left, right) => left - right);
  const at = (share) => (times[Math.floor(times.length * share)] ?? 0) / 1000;
  return { p50Ms: at(0.5), p99Ms: at(0.99) };
}

/** A gRPC message: the 5-byte frame and the bytes. */
export function grpcFrame(bytes) {
  const frame = Buffer.alloc(5 + bytes.length);
  frame.writeUInt32BE(bytes.length, 1);
  frame.set(bytes, 5);
  return frame;
}
