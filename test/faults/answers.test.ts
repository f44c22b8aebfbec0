/** Acknowledgements lost between the service and the storage: nothing is applied twice, and nothing is told that is not so. */
import { setTimeout as delay } from "node:timers/promises";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, expect, it } from "vitest";
import { BucketService } from "@ironflow-kv/client/gen";
import { type FaultyLink, openFaultyLink } from "../nats/faulty-link.js";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { type Deployment, deploy } from "./deployment.js";
import { IS_LONG, NOTHING_WRONG, report, SEED, times } from "./report.js";
import { HISTORIES, randomFrom, Workload } from "./workload.js";

let nats: TestNatsServer;
let link: FaultyLink;
let service: Deployment;

beforeAll(async () => {
  nats = await startNatsServer();
  link = await openFaultyLink(nats.port);
  service = await deploy({ NATS_URL: link.url });
  const buckets = createClient(BucketService, createGrpcTransport({ baseUrl: service.url }));
  for (const history of HISTORIES) await buckets.createBucket({ name: `faults-${history}`, history });
});

afterAll(async () => {
  link.heal();
  await service.remove();
  await link.close();
  await nats.remove();
});

it.each(HISTORIES)(
  "applies nothing twice and reports nothing wrongly, with a history of %i",
  async (history) => {
    const bucket = `faults-${history}`;
    const workload = new Workload({ urls: [service.url], bucket, history, seed: SEED, keys: 16 });
    const random = randomFrom(SEED + 11);
    const rounds = times({ full: 100, medium: 25, short: 6 });
    for (let round = 0; round < rounds; round++) {
      await workload.untilWritten();
      // What the client sends from here on arrives, or not; no answer comes back.
      await (random(2) === 0
        ? link.loseAnswersTo(`$KV.APP_${bucket}`)
        : link.loseRequest(`$KV.APP_${bucket}`));
      await delay(random(200));
      link.heal();
      link.cut();
    }
    await workload.untilWritten();
    const findings = await workload.finish();
    report(`acknowledgements lost ${rounds} times, history ${history}`, findings);
    expect(findings).toMatchObject(NOTHING_WRONG);
    expect(findings.acknowledged).toBeGreaterThan(rounds);
  },
  IS_LONG ? 600_000 : 120_000,
);
