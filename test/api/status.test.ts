/** What an instance tells about its NATS server, through every door that GetStatus has. */
import { createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { StatusService } from "@ironflow-kv/client/gen";
import { startNatsCluster, type TestCluster } from "../support/nats-cluster.js";
import { startTestService, type TestService } from "../support/service.js";
import { ALL_DOORS } from "./doors.js";

/** GetStatus has no REST path. */
const DOORS = ALL_DOORS.filter(({ isWholeContract }) => isWholeContract);

async function instanceOf(door: (typeof DOORS)[number], url: string) {
  const { instance } = await createClient(StatusService, door.connect(url)).getStatus({});
  return instance;
}

describe("with a single server", () => {
  let service: TestService;
  beforeAll(async () => {
    service = await startTestService({});
  });
  afterAll(() => service.remove());

  it.each(DOORS)("names the server and no cluster over $name", async (door) => {
    const instance = await instanceOf(door, service.url);
    expect(instance).toMatchObject({ natsServerName: "ironflow-kv", externalStorage: false });
    expect(instance?.natsCluster).toBeUndefined();
  });
});

describe.each([true, false])("with a cluster of three servers, advertised: %s", (advertises) => {
  let cluster: TestCluster;
  let service: TestService;
  beforeAll(async () => {
    cluster = await startNatsCluster(3, advertises);
    service = await startTestService({ "nats-url": cluster.servers[1]?.url ?? "", replicas: "3" });
  }, 60_000);
  afterAll(async () => {
    await service.remove();
    await cluster.remove();
  });

  it.each(DOORS)("names the server, the cluster and its known servers over $name", async (door) => {
    const addresses = advertises ? cluster.servers.map(({ url }) => new URL(url).host).sort() : [];
    // A server learns of the others when it has joined them.
    await expect
      .poll(async () => (await instanceOf(door, service.url))?.natsCluster?.serverAddresses)
      .toEqual(addresses);
    const instance = await instanceOf(door, service.url);
    expect(instance).toMatchObject({
      natsServerName: "n1",
      externalStorage: true,
      natsCluster: { name: "c" },
    });
  });
});
