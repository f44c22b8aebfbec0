/** grpc.health.v1.Health and the probes by HTTP, by real clients, with a NATS server that goes away and comes back. */
import { once } from "node:events";
import { type ClientReadableStream, credentials, makeGenericClientConstructor, status } from "@grpc/grpc-js";
import { createClient } from "@connectrpc/connect";
import { service as healthDefinition } from "grpc-health-check";
import { describe, expect } from "vitest";
import { Health, HealthCheckResponse_ServingStatus as Status } from "../../gen/grpc/health/v1/health_pb.js";
import { CONTRACT_DOORS } from "../api/doors.js";
import { copiesTest } from "../support/fixtures.js";

const KNOWN = ["", "ironflow.kv.v1.BucketService", "ironflow.kv.v1.KeyValueService", "grpc.health.v1.Health"];

// A machine that is slow is not away: losing NATS is noticed by its connection, not by this time.
const it = copiesTest({ "ready-timeout-ms": "20000", "api-key": "a-key-that-probes-lack" }).extend(
  "probe",
  ({ service }) =>
    async (path: string): Promise<string> => {
      const answer = await fetch(service.url + path);
      return `${answer.status} ${(await answer.text()).trim()}`;
    },
);

/** As Kubernetes and Envoy ask: gRPC's own definition of the service, on gRPC's own library. */
class HealthClient {
  private readonly client: InstanceType<ReturnType<typeof makeGenericClientConstructor>>;

  constructor({ url }: { readonly url: string }) {
    const Client = makeGenericClientConstructor(healthDefinition, "Health");
    this.client = new Client(new URL(url).host, credentials.createInsecure());
  }

  check(name: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const check = this.client.check as (
        request: object,
        done: (error: Error | null, answer: { status: string }) => void,
      ) => void;
      check.call(this.client, { service: name }, (error, answer) =>
        error === null ? resolve(answer.status) : reject(error),
      );
    });
  }

  watch(name: string): ClientReadableStream<{ status: string }> {
    const watch = this.client.watch as (request: object) => ClientReadableStream<{ status: string }>;
    return watch.call(this.client, { service: name });
  }

  close(): void {
    this.client.close();
  }
}

describe("the health of a service whose storage answers", () => {
  it.for(KNOWN)("is SERVING for %j, without a key", async (name, { service }) => {
    const client = new HealthClient(service);
    expect(await client.check(name)).toBe("SERVING");
    client.close();
  });

  it("is NOT_FOUND for a service that is not there", async ({ service }) => {
    const client = new HealthClient(service);
    await expect(client.check("no.such.Service")).rejects.toMatchObject({ code: status.NOT_FOUND });
    client.close();
  });

  it.for(CONTRACT_DOORS)("is told without a key by $name", async (door, { service }) => {
    const health = createClient(Health, door.connect(service.url));
    expect((await health.check({})).status).toBe(Status.SERVING);
    const { statuses } = await health.list({});
    expect(Object.keys(statuses)).toEqual(expect.arrayContaining(KNOWN));
    for await (const { status } of health.watch({})) {
      expect(status).toBe(Status.SERVING);
      break;
    }
  });

  it("is SERVICE_UNKNOWN to who watches a service that is not there, and the watch continues", async ({
    service,
  }) => {
    const client = new HealthClient(service);
    const watch = client.watch("no.such.Service");
    const ended = once(watch, "error");
    expect((await once(watch, "data"))[0]).toEqual({ status: "SERVICE_UNKNOWN" });
    expect(await Promise.race([ended, client.check("")])).toBe("SERVING");
    watch.cancel();
    await ended;
    client.close();
  });

  it("is yes to the probes by HTTP", async ({ probe }) => {
    expect([await probe("/healthz"), await probe("/readyz")]).toEqual(["200 ok", "200 ready"]);
  });
});

describe("the health of a service whose storage goes away", () => {
  it("changes to NOT_SERVING and back, for Check, Watch and /readyz; /healthz stays", async ({
    service,
    server,
    probe,
  }) => {
    const client = new HealthClient(service);
    const watches = KNOWN.map((name) => client.watch(name));
    const next = async (): Promise<unknown> =>
      (await Promise.all(watches.map((watch) => once(watch, "data")))).flat();
    const all = (state: string): unknown[] => KNOWN.map(() => ({ status: state }));

    expect(await next()).toEqual(all("SERVING"));
    const gone = next();
    await server.stop();
    expect(await gone).toEqual(all("NOT_SERVING"));
    expect(await client.check("")).toBe("NOT_SERVING");
    expect([await probe("/healthz"), await probe("/readyz")]).toEqual(["200 ok", "503 storage unavailable"]);

    const back = next();
    await server.start();
    expect(await back).toEqual(all("SERVING"));
    expect(await client.check("ironflow.kv.v1.KeyValueService")).toBe("SERVING");
    expect(await probe("/readyz")).toBe("200 ready");
    for (const watch of watches) {
      watch.on("error", () => undefined);
      watch.cancel();
    }
    client.close();
  });
});

describe("the health of a service that stops", () => {
  it("is NOT_SERVING while it drains, and watches end as others do", async ({ startCopy }) => {
    const stopping = await startCopy({ "ready-timeout-ms": "20000", "shutdown-delay-ms": "100" });
    const [grpc] = CONTRACT_DOORS;
    if (grpc === undefined) throw new Error("no doors");
    const health = createClient(Health, grpc.connect(stopping.url));
    const watch = health.watch({})[Symbol.asyncIterator]();
    expect((await watch.next()).value).toMatchObject({ status: Status.SERVING });
    const states = watch.next();
    const stopped = stopping.remove();
    expect((await states).value).toMatchObject({ status: Status.NOT_SERVING });
    await expect(watch.next()).rejects.toThrow(/shutting down; use another one/);
    await stopped;
  });
});
