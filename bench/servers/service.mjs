// Our service in a process that tells what it uses, after a garbage collection: started by `startMeasuredService` with an IPC channel.
import { monitorEventLoopDelay } from "node:perf_hooks";
import { startService } from "../../dist/src/embed.js";

const service = await startService({ environment: process.env });
const loop = monitorEventLoopDelay({ resolution: 1 });
loop.enable();
process.on("message", (question) => {
  if (question === "eventLoop") {
    process.send({ maxMs: loop.max / 1e6, p99Ms: loop.percentile(99) / 1e6 });
    loop.reset();
    return;
  }
  // Twice: what finalizers let go of in the first goes in the second.
  globalThis.gc();
  globalThis.gc();
  const { user, system } = process.cpuUsage();
  const resources = process.getActiveResourcesInfo();
  const count = (name) => resources.filter((resource) => resource === name).length;
  process.send({
    cpuMs: (user + system) / 1_000,
    ...process.memoryUsage(),
    timers: count("Timeout"),
    sockets: count("TCPSocketWrap"),
  });
});
process.once("SIGTERM", () => void service.stop().then(() => process.exit(0)));
process.send({ port: service.port });
