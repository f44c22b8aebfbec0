/** A whole service for tests: its own embedded nats-server, a free port, a data directory that goes with it. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Logger, pino } from "pino";
import { type Service, startService } from "../../src/embed.js";
import { ended, track } from "./started.js";

export interface TestService extends Service {
  readonly dataDir: string;
  /** Stops it; the data stays. */
  stop(): Promise<void>;
  /** Stops it and removes its data. */
  remove(): Promise<void>;
}

/** Starts a service. Settings by flag, such as `{ "api-key": "..." }`; `data-dir` of an earlier one keeps its data. */
export async function startTestService(
  settings: Record<string, string> = {},
  logger: Logger = pino({ level: process.env.TEST_LOG_LEVEL ?? "error" }, pino.destination(2)),
): Promise<TestService> {
  const dataDir = settings["data-dir"] ?? (await mkdtemp(join(tmpdir(), "ironflow-service-")));
  const service = await startService({
    settings: {
      port: "0",
      durability: "relaxed",
      http2: process.env.TEST_HTTP2,
      ...settings,
      "data-dir": dataDir,
    },
    logger,
  });
  const testService: TestService = {
    url: service.url,
    port: service.port,
    metricsPort: service.metricsPort,
    isOpen: service.isOpen,
    dataDir,
    stop: () => {
      ended(testService);
      return service.stop();
    },
    async remove() {
      await testService.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
  track(testService, () => testService.stop());
  return testService;
}

let lastBucket = 0;

/** A bucket name that no other test uses. */
export function freshName(prefix = "bucket"): string {
  return `${prefix}-${process.pid}-${++lastBucket}`;
}
