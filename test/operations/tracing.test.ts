/** Spans of calls, where an OpenTelemetry SDK is registered. In a file of its own: the SDK is the process's. */
import {
  context,
  type Context,
  type ContextManager,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import { AsyncLocalStorage } from "node:async_hooks";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BoundMethod } from "../../src/service/calls.js";
import { CallSpan, findTracer } from "../../src/telemetry/tracing.js";
import { send1, send2 } from "../support/http-client.js";
import { startTestService, type TestService } from "../support/service.js";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const PARENT = "b7ad6b7169203331";

const exporter = new InMemorySpanExporter();
const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
const contexts = new AsyncLocalStorage<Context>();
let service: TestService;

beforeAll(async () => {
  expect(findTracer()).toBeUndefined();
  trace.setGlobalTracerProvider(provider);
  service = await startTestService();
  const headers = { "content-type": "application/json" };
  await send1(service.url, "POST", "/api/v1/kv/buckets", { headers, body: '{"name":"traced"}' });
});
afterAll(async () => {
  await service.remove();
  context.disable();
  trace.disable();
  await provider.shutdown();
});

/** The spans that end while the work is done. */
async function spansOf(work: () => Promise<unknown>): Promise<ReadableSpan[]> {
  exporter.reset();
  await work();
  await expect.poll(() => exporter.getFinishedSpans().length).toBeGreaterThan(0);
  return exporter.getFinishedSpans();
}

const traceparent = `00-${TRACE}-${PARENT}-01`;
const connect = { "content-type": "application/json", traceparent };
const GET = "/ironflow.kv.v1.KeyValueService/Get";
const envelope = Buffer.from([0, 0, 0, 0, 0]);

describe("a call with a traceparent", () => {
  it.each([
    [
      "grpc",
      "grpc",
      () =>
        send2(service.url, "POST", GET, {
          headers: { "content-type": "application/grpc", te: "trailers", traceparent },
          body: envelope,
        }),
      3,
    ],
    [
      "connect",
      "connect_rpc",
      () => send1(service.url, "POST", GET, { headers: connect, body: '{"bucket":"traced","key":"none"}' }),
      5,
    ],
    [
      "rest",
      "grpc",
      () => send1(service.url, "GET", "/api/v1/kv/buckets/traced/keys/none", { headers: { traceparent } }),
      5,
    ],
  ] as const)("by %s is a span of its trace", async (door, system, call, code) => {
    const [span, ...others] = await spansOf(call);
    expect(others).toEqual([]);
    expect(span?.name).toBe("ironflow.kv.v1.KeyValueService/Get");
    expect(span?.kind).toBe(SpanKind.SERVER);
    expect(span?.spanContext().traceId).toBe(TRACE);
    expect(span?.parentSpanContext?.spanId).toBe(PARENT);
    // What the client did wrong is no failure of the server.
    expect(span?.status.code).toBe(SpanStatusCode.UNSET);
    expect(span?.attributes).toEqual({
      "rpc.system": system,
      "rpc.service": "ironflow.kv.v1.KeyValueService",
      "rpc.method": "Get",
      "rpc.grpc.status_code": code,
      "ironflow.door": door,
    });
  });
});

describe("a call without a traceparent, or with a malformed one", () => {
  it.each([{}, { traceparent: "nonsense" }])("(%j) begins a trace", async (headers) => {
    const [span] = await spansOf(() => send1(service.url, "GET", "/api/v1/kv/buckets", { headers }));
    expect(span?.parentSpanContext).toBeUndefined();
    expect(span?.spanContext().traceId).toMatch(/^[0-9a-f]{32}$/);
    expect(span?.attributes["rpc.grpc.status_code"]).toBe(0);
  });
});

describe("a watch", () => {
  it("is one span, which ends with it", async () => {
    const abort = new AbortController();
    const [span] = await spansOf(async () => {
      const watch = await fetch(`${service.url}/api/v1/kv/buckets/traced/watch`, {
        headers: { accept: "text/event-stream", traceparent },
        signal: abort.signal,
      });
      expect(watch.status).toBe(200);
      expect(exporter.getFinishedSpans()).toEqual([]);
      abort.abort();
    });
    expect(span?.name).toBe("ironflow.kv.v1.KeyValueService/Watch");
    expect(span?.attributes).toMatchObject({ "ironflow.door": "sse", "rpc.grpc.status_code": 0 });
    expect(span?.spanContext().traceId).toBe(TRACE);
  });
});

describe("what a handler does", () => {
  it("belongs to the call's span, where the SDK keeps contexts", async () => {
    const manager: ContextManager = {
      active: () => contexts.getStore() ?? ROOT_CONTEXT,
      with: (active, work, self, ...args) => contexts.run(active, () => work.call(self as never, ...args)),
      bind: (_, target) => target,
      enable: () => manager,
      disable: () => manager,
    };
    context.setGlobalContextManager(manager);
    const tracer = findTracer();
    if (tracer === undefined) throw new Error("no SDK");
    const method = { path: GET, service: { typeName: "S" }, desc: { name: "Get" } } as BoundMethod;
    const span = new CallSpan(tracer, method, { protocol: "grpc", header: () => undefined });
    await span.run(async () => {
      await Promise.resolve();
      expect(trace.getActiveSpan()?.spanContext().traceId).toBe(span.traceId);
    });
    expect(trace.getActiveSpan()).toBeUndefined();
    span.end(undefined);
  });
});
