/** Commits are serializable per bucket, whichever process is killed: money that moves between accounts is neither lost nor made. */
import { expect, it } from "vitest";
import { createClient } from "@ironflow-kv/client";
import { startNatsCluster } from "../support/nats-cluster.js";
import { needsServer } from "../support/nats-program.js";
import { IS_EXTENDED } from "../support/extended.js";
import { until } from "../support/until.js";
import { deploy, natsServerOf } from "./deployment.js";
import { IS_LONG, times } from "./report.js";
import { ACCOUNTS, NO_TRANSFER_WRONG, type TransferFindings, Transfers } from "./transfers.js";

const TIMEOUT_MS = IS_LONG ? 1_200_000 : 240_000;
const BUCKET = "transfers";
const ROUNDS = times({ full: 20, medium: 6, short: 1 });
const EXPECTED = { ...NO_TRANSFER_WRONG, sum: 100 * ACCOUNTS.length };

function report(scenario: string, findings: TransferFindings): void {
  console.log(`faults | ${scenario} | ${JSON.stringify(findings)}`);
}

// Vitest ignores `runIf` if the options have a `skip`. `npm test` kills the same processes in kills.test.ts.
it.skipIf(!(IS_EXTENDED || IS_LONG) || needsServer("2.15.1").skip)(
  "on one node, whose nats-server and service are killed",
  { timeout: TIMEOUT_MS },
  async () => {
    const service = await deploy();
    try {
      await createClient({ serverUrl: service.url }).kv().createBucket({ name: BUCKET });
      const transfers = await Transfers.start([service.url], BUCKET);
      for (let round = 0; round < ROUNDS; round++) {
        await transfers.untilTransferred();
        process.kill(natsServerOf(service.pid) ?? 0, "SIGKILL");
        await transfers.untilTransferred();
        await service.kill();
        service.start();
        await transfers.untilTransferred();
      }
      const findings = await transfers.finish();
      report(`transfers, one node, ${2 * ROUNDS} kills`, findings);
      expect(findings).toMatchObject(EXPECTED);
      expect(findings.applied).toBeGreaterThanOrEqual(findings.acknowledged);
    } finally {
      await service.remove();
    }
  },
);

it.skipIf(!(IS_EXTENDED || IS_LONG) || needsServer("2.15.1").skip)(
  "on three nodes, one of which is killed",
  { timeout: TIMEOUT_MS },
  async () => {
    const cluster = await startNatsCluster(3);
    const servers = cluster.servers.map(({ url }) => url);
    const environment = { NATS_URL: servers.join(","), REPLICAS: "3" };
    const services = await Promise.all([0, 1].map(() => deploy(environment)));
    try {
      const urls = services.map(({ url }) => url);
      const kv = createClient({ serverUrl: urls[0] ?? "" }).kv();
      // A new cluster refuses until all of its nodes know each other.
      await until("the cluster creates a bucket", () =>
        kv.ensureBucket({ name: BUCKET }).then(
          () => true,
          () => false,
        ),
      );
      const transfers = await Transfers.start(urls, BUCKET);
      for (let round = 0; round < ROUNDS; round++) {
        const server = cluster.servers[round % cluster.servers.length];
        await transfers.untilTransferred();
        await server?.stop("SIGKILL");
        await transfers.untilTransferred();
        await server?.start();
        await transfers.untilTransferred();
      }
      const findings = await transfers.finish();
      report(`transfers, three nodes, ${ROUNDS} kills`, findings);
      expect(findings).toMatchObject(EXPECTED);
    } finally {
      await Promise.all(services.map((service) => service.remove()));
      await cluster.remove();
    }
  },
);
