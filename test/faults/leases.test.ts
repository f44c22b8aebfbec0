/**
 * A lock of the SDK is never held by two clients, whichever process is killed or suspended, and however wrong the clocks of the clients and
 * of the services are.
 */
import { expect, it } from "vitest";
import { createClient } from "@ironflow-kv/client";
import { startNatsServer } from "../support/nats-server.js";
import { deploy } from "./deployment.js";
import { type Clock, environmentOf, judged, LeaseHolders, NO_LEASE_WRONG } from "./leases.js";
import { IS_LONG, times } from "./report.js";

const MINUTE_MS = 60_000;
const ROUNDS = times({ full: 30, medium: 8, short: 1 });
const TTL_SECONDS = 2;
/** A lease that depended on a clock which steps back would last for minutes. */
const CLIENT_CLOCKS: readonly Clock[] = [
  { skewMs: 7 * MINUTE_MS },
  { skewMs: -4 * MINUTE_MS, stepMs: 500 },
  { skewMs: -3 * MINUTE_MS, stepMs: 700 },
];
const SERVICE_CLOCKS: readonly Clock[] = [
  { skewMs: -6 * MINUTE_MS, stepMs: 1_500 },
  { skewMs: 5 * MINUTE_MS, stepMs: 1_300 },
];

it("the judge sees holds that overlap, and tokens that do not grow", () => {
  const hold = (token: bigint, fromNs: bigint, toNs: bigint) => ({ token, fromNs, toNs });
  expect(judged([hold(1n, 1n, 2n), hold(2n, 3n, 4n)])).toEqual({ overlaps: 0, tokensNotAbove: 0 });
  expect(judged([hold(1n, 1n, 9n), hold(2n, 3n, 4n), hold(3n, 5n, 6n)])).toMatchObject({ overlaps: 2 });
  expect(judged([hold(2n, 1n, 2n), hold(2n, 3n, 4n), hold(1n, 5n, 6n)])).toMatchObject({ tokensNotAbove: 2 });
});

it(
  "a lock has one holder at a time while nats-server, services and its holders are killed or suspended, and clocks are wrong",
  { timeout: IS_LONG ? 1_200_000 : 120_000 },
  async () => {
    const server = await startNatsServer({ syncAlways: true });
    const services = await Promise.all(
      SERVICE_CLOCKS.map((clock) => deploy({ NATS_URL: server.url, ...environmentOf(clock) })),
    );
    try {
      const kv = createClient({ serverUrl: services[0]?.url ?? "" }).kv();
      const { name } = await kv.createBucket({ name: "leases" });
      const holders = new LeaseHolders(
        services.map(({ url }) => url),
        kv.bucket(name),
        TTL_SECONDS,
      );
      for (const clock of CLIENT_CLOCKS) holders.start(clock);
      await holders.untilAcquired();
      for (let round = 0; round < ROUNDS; round++) {
        const service = services[round % services.length];
        const clock = CLIENT_CLOCKS[round % CLIENT_CLOCKS.length] as Clock;
        await server.stop("SIGKILL");
        await server.start();
        await holders.untilTaken(2);
        await service?.kill();
        service?.start();
        await holders.untilTaken(2);
        const killed = await holders.untilAcquired();
        holders.signal(killed, "SIGKILL");
        holders.start(clock);
        const suspended = await holders.untilAcquired((client) => client !== killed);
        holders.signal(suspended, "SIGSTOP");
        await holders.untilAcquired((client) => client !== suspended);
        holders.signal(suspended, "SIGCONT");
        await holders.untilTaken(2);
      }
      await Promise.all(services.map((service) => service.ready()));
      const findings = await holders.finish();
      console.log(`faults | leases, ${4 * ROUNDS} kills and stops | ${JSON.stringify(findings)}`);
      expect(findings).toMatchObject(NO_LEASE_WRONG);
      expect(findings.holds).toBeGreaterThan(4 * ROUNDS);
      expect(findings.records).toBeGreaterThan(findings.holds);
      for (const skewMs of holders.skewsMs) expect(Math.abs(skewMs)).toBeGreaterThan(2 * MINUTE_MS);
    } finally {
      await Promise.all(services.map((service) => service.remove()));
      await server.remove();
    }
  },
);
