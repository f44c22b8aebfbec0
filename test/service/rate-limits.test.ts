/** Calls per second: who shares a limit, and what a call over it is answered on each door. */
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { BucketService } from "../../gen/ironflow/kv/v1/bucket_service_pb.js";
import { ErrorDetailSchema } from "../../gen/ironflow/kv/v1/types_pb.js";
import { KvError } from "../../src/kv/errors.js";
import { ANONYMOUS } from "../../src/service/principal.js";
import { CallRateLimiter, networkOf } from "../../src/service/rate-limits.js";
import { startTestService, type TestService } from "../support/service.js";
import { refusedUpgrade } from "../support/watch-client.js";

describe("a limit of calls per second", () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ["performance"] }));
  afterEach(() => void vi.useRealTimers());
  const someone = { id: "key" };
  const everyone = { id: ANONYMOUS };
  const from = (remoteAddress: string): { remoteAddress: string } => ({ remoteAddress });

  it("lets a second's worth through at once, then says when to come back", () => {
    const rates = new CallRateLimiter({ callsPerSecondMax: 2 });
    rates.take(someone, {});
    rates.take(someone, {});
    const refusal = thrownBy(() => rates.take(someone, {}));
    expect(refusal.kind).toBe("rate_limited");
    expect(refusal.retryAfterMs).toBe(500);
    vi.advanceTimersByTime(500);
    rates.take(someone, {});
    expect(thrownBy(() => rates.take(someone, {})).retryAfterMs).toBe(500);
    vi.advanceTimersByTime(60_000);
    rates.take(someone, {});
    rates.take(someone, {});
    expect(() => rates.take(someone, {})).toThrow(KvError);
  });

  it("is each key's own, wherever it calls from", () => {
    const rates = new CallRateLimiter({ callsPerSecondMax: 1 });
    rates.take(someone, from("10.0.0.1"));
    expect(thrownBy(() => rates.take(someone, from("10.0.0.2"))).message).toContain("API key");
    rates.take({ id: "other" }, from("10.0.0.1"));
  });

  it("is each address's own where no key is given", () => {
    const rates = new CallRateLimiter({ callsPerSecondMax: 1 });
    rates.take(everyone, from("10.0.0.1"));
    rates.take(everyone, from("10.0.0.2"));
    expect(thrownBy(() => rates.take(everyone, from("::ffff:10.0.0.1"))).message).toContain("address");
    rates.take(everyone, {});
  });

  it.each([
    ["10.1.2.3", "10.1.2.3"],
    ["::ffff:10.1.2.3", "10.1.2.3"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2"],
    ["2001:db8::1", "2001:db8:0:0"],
    ["::1", "0:0:0:0"],
    ["fe80::1%eth0", "fe80:0:0:0"],
    ["2001:db8:1:2::", "2001:db8:1:2"],
    ["", ""],
  ])("takes %j for a part of %j", (address, network) => {
    expect(networkOf(address)).toBe(network);
  });

  it("forgets who has not called for longest when there are too many", () => {
    const rates = new CallRateLimiter({ callsPerSecondMax: 1 });
    for (let index = 0; index <= 10_000; index++) rates.take({ id: `key-${index}` }, {});
    rates.take({ id: "key-0" }, {});
    expect(() => rates.take({ id: "key-10000" }, {})).toThrow(KvError);
  });
});

describe("a call over the limit", () => {
  let service: TestService;
  const key = "0123456789abcdef";
  beforeAll(async () => {
    service = await startTestService({ "calls-per-second-max": "1", "api-key": key });
  });
  afterAll(() => service.remove());
  const rest = (): Promise<Response> =>
    fetch(`${service.url}/api/v1/kv/buckets`, { headers: { authorization: `Bearer ${key}` } });

  /** One of a few calls right after each other is over the limit; a slow machine may need more of them. */
  async function overLimit<Answer>(
    call: () => Promise<Answer>,
    isOver: (answer: Answer) => boolean,
  ): Promise<Answer> {
    for (;;) {
      const answers = await Promise.all(Array.from({ length: 5 }, call));
      const found = answers.find(isOver);
      if (found !== undefined) return found;
    }
  }

  it("is 429 with Retry-After over REST, and the connection stays", async () => {
    const answer = await overLimit(rest, ({ status }) => status === 429);
    expect(Number(answer.headers.get("retry-after"))).toBe(1);
    expect(await answer.json()).toMatchObject({ code: "rate_limited" });
    expect(answer.headers.get("connection")).not.toBe("close");
  });

  it.each([
    ["gRPC", (baseUrl: string) => createGrpcTransport({ baseUrl })],
    ["gRPC-Web", (baseUrl: string) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1" })],
    ["Connect", (baseUrl: string) => createConnectTransport({ baseUrl, httpVersion: "1.1" })],
  ])("is RESOURCE_EXHAUSTED with the time to wait over %s", async (_door, transport) => {
    const client = createClient(BucketService, transport(service.url));
    const headers = { authorization: `Bearer ${key}` };
    const call = (): Promise<unknown> => client.listBuckets({}, { headers }).catch((error: unknown) => error);
    const error = (await overLimit(call, (answer) => answer instanceof ConnectError)) as ConnectError;
    expect(error.code).toBe(Code.ResourceExhausted);
    const [detail] = error.findDetails(ErrorDetailSchema);
    expect(detail?.reason).toBe("rate_limited");
    expect(
      (detail?.retryAfter?.seconds ?? 0n) * 1_000_000_000n + BigInt(detail?.retryAfter?.nanos ?? 0),
    ).toBeGreaterThan(0n);
    expect(error.metadata.get("retry-after")).toBe("1");
  });

  it("refuses a WebSocket before the handshake", async () => {
    const headers = { authorization: `Bearer ${key}` };
    const upgrade = (): Promise<number> =>
      refusedUpgrade(service.url, "/api/v1/kv/buckets/none/watch", headers).then(([status]) => status);
    expect(await overLimit(upgrade, (status) => status === 429)).toBe(429);
  });

  it("does not count probes", async () => {
    for (let round = 0; round < 10; round++) {
      expect((await fetch(`${service.url}/readyz`)).status).toBe(200);
    }
  });
});

function thrownBy(action: () => unknown): KvError {
  try {
    action();
  } catch (error) {
    if (error instanceof KvError) return error;
  }
  throw new Error("it did not throw");
}
