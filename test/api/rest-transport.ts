/** The REST door as a Connect transport, as a REST SDK would use it: for the suite that runs over every door. */
import {
  create,
  type DescMessage,
  type DescMethodStreaming,
  type DescMethodUnary,
  type MessageShape,
  toJson,
} from "@bufbuild/protobuf";
import { timestampFromDate, timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type Code,
  ConnectError,
  type StreamResponse,
  type Transport,
  type UnaryResponse,
} from "@connectrpc/connect";
import { WebSocket } from "ws";
import { CommitRequestSchema } from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import {
  BucketSchema,
  EntrySchema,
  ErrorDetailSchema,
  Operation,
} from "../../gen/ironflow/kv/v1/types_pb.js";
import { CODE_BY_KIND } from "../../src/service/errors.js";

// The requests and answers of REST are loose JSON; this file is the one place that reads them without types.
/* eslint-disable @typescript-eslint/no-explicit-any, @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-argument, @typescript-eslint/no-unsafe-call, @typescript-eslint/no-unsafe-return */

export function createRestTransport(baseUrl: string, watchBy: "sse" | "websocket"): Transport {
  const api = `${baseUrl}/api/v1/kv/buckets`;
  return {
    async unary<I extends DescMessage, O extends DescMessage>(
      method: DescMethodUnary<I, O>,
      signal: AbortSignal | undefined,
      _timeoutMs: unknown,
      _header: unknown,
      input: any,
    ): Promise<UnaryResponse<I, O>> {
      const message = method.name.includes("Config")
        ? await callConfig(`${baseUrl}/api/v1/config`, method.name, input, signal)
        : await callUnary(api, method.name, input, signal);
      return {
        stream: false,
        service: method.parent,
        method,
        header: new Headers(),
        trailer: new Headers(),
        message: create(method.output, message),
      };
    },
    async stream<I extends DescMessage, O extends DescMessage>(
      method: DescMethodStreaming<I, O>,
      signal: AbortSignal | undefined,
      _timeoutMs: unknown,
      _header: unknown,
      input: AsyncIterable<any>,
    ): Promise<StreamResponse<I, O>> {
      let request: any;
      for await (const one of input) request = one;
      if (method.name === "Scan") {
        return {
          ...{ stream: true, service: method.parent, method, header: new Headers(), trailer: new Headers() },
          message: scanResponses(method.output, api, request, signal),
        };
      }
      const target =
        method.name === "WatchConfig"
          ? `${baseUrl}/api/v1/config/${encodeURIComponent(request.name)}/watch`
          : watchTarget(api, request);
      const frames = watchBy === "sse" ? sseFrames(target, signal) : webSocketFrames(target, signal);
      return {
        stream: true,
        service: method.parent,
        method,
        header: new Headers(),
        trailer: new Headers(),
        message: responses(method.output, frames),
      };
    },
  };
}

/** The lines of a scan: one response for each. */
async function* scanResponses<O extends DescMessage>(
  output: O,
  api: string,
  request: any,
  signal: AbortSignal | undefined,
): AsyncGenerator<MessageShape<O>> {
  const filters = (request.filters ?? []).map((filter: string) => `filter=${encodeURIComponent(filter)}`);
  const others = query({
    ...{ prefix: request.prefix, start_key: request.startKey, end_key: request.endKey },
    ...{ reverse: request.reverse, limit: request.limit, keys_only: request.keysOnly },
    ...{ allow_newer: request.allowNewer, consistency: consistencyOf(request) },
  }).slice(1);
  const parameters = [...filters, others].filter(Boolean).join("&");
  const response = await fetch(`${api}/${encodeURIComponent(request.bucket)}/scan?${parameters}`, {
    ...(signal === undefined ? {} : { signal }),
  });
  const lines = (await response.text()).split("\n").filter(Boolean);
  for (const line of lines) {
    const json: any = JSON.parse(line);
    if (json.error !== undefined) throw errorOf(json);
    const revision = BigInt(json.revision);
    if (json.end !== true) yield create(output, { entries: [entryOf({ operation: "put", ...json })] } as any);
    else yield create(output, { revision, end: { complete: json.complete } } as any);
  }
}

const JSON_TYPE = { "Content-Type": "application/json" };

async function callUnary(
  api: string,
  name: string,
  input: any,
  signal: AbortSignal | undefined,
): Promise<any> {
  const bucket = `${api}/${encodeURIComponent(input.bucket ?? "")}`;
  const key = `${bucket}/keys/${encodeURIComponent(input.key ?? "")}`;
  switch (name) {
    case "CreateBucket":
      return {
        bucket: bucketOf(await send("POST", api, signal, JSON_TYPE, JSON.stringify(bucketJson(input)))),
      };
    case "GetBucket": {
      const mask = query({ read_mask: input.readMask?.paths?.join(",") });
      return { bucket: bucketOf(await send("GET", bucket + mask, signal)) };
    }
    case "ListBuckets": {
      const answer = await send(
        "GET",
        `${api}${query({ limit: input.limit, page_token: input.pageToken, read_mask: input.readMask?.paths?.join(",") })}`,
        signal,
      );
      return { buckets: answer.buckets.map(bucketOf), nextPageToken: answer.next_page_token ?? "" };
    }
    case "UpdateBucket":
      return {
        bucket: bucketOf(await send("PATCH", bucket, signal, JSON_TYPE, JSON.stringify(bucketJson(input)))),
      };
    case "DeleteBucket":
      await send("DELETE", bucket, signal);
      return {};
    case "CompactBucket":
      return { removed: BigInt((await send("POST", `${bucket}/compact`, signal)).removed) };
    case "Get": {
      const parameters = { revision: input.revision, consistency: consistencyOf(input) };
      return { entry: entryOf(await send("GET", key + query(parameters), signal)) };
    }
    case "Put": {
      const headers = {
        ...conditionHeaders(input),
        ...ttlHeader(input.ttl),
        ...metadataHeaders(input.metadata),
      };
      const answer = await send("PUT", key, signal, headers, input.value);
      return { revision: BigInt(answer.revision) };
    }
    case "Touch": {
      const headers: Record<string, string> = { ...ttlHeader(input.ttl) };
      if (input.ifRevision) headers["If-Match"] = tagOf(input.ifRevision, input.ifBucketCreatedAt);
      if (input.idempotencyKey) headers["Idempotency-Key"] = input.idempotencyKey;
      const answer = await send("POST", key.replace("/keys/", "/touch/"), signal, headers);
      return { revision: BigInt(answer.revision) };
    }
    case "Delete": {
      const headers: Record<string, string> = input.ifRevision
        ? { "If-Match": tagOf(input.ifRevision, input.ifBucketCreatedAt) }
        : {};
      if (input.idempotencyKey) headers["Idempotency-Key"] = input.idempotencyKey;
      await send("DELETE", key + (input.purge ? "?purge=true" : ""), signal, headers);
      return {};
    }
    case "Commit": {
      const json = toJson(CommitRequestSchema, create(CommitRequestSchema, input)) as Record<string, unknown>;
      const headers = input.idempotencyKey ? { "Idempotency-Key": input.idempotencyKey } : {};
      const body = JSON.stringify({ ...json, bucket: undefined, idempotencyKey: undefined });
      const answer = await send("POST", `${bucket}/commit`, signal, { ...JSON_TYPE, ...headers }, body);
      return { revision: BigInt(answer.revision), revisions: answer.revisions.map(BigInt) };
    }
    case "ListKeys": {
      const parameters = (input.filters ?? []).map(
        (filter: string) => `filter=${encodeURIComponent(filter)}`,
      );
      const page = { limit: input.limit, page_token: input.pageToken };
      const rest = query({ ...page, consistency: consistencyOf(input) }).slice(1);
      const answer = await send(
        "GET",
        `${bucket}/keys?${[...parameters, rest].filter(Boolean).join("&")}`,
        signal,
      );
      return { keys: answer.keys, nextPageToken: answer.next_page_token ?? "" };
    }
    case "GetHistory": {
      const page = { limit: input.limit, page_token: input.pageToken };
      const target =
        key.replace("/keys/", "/history/") + query({ ...page, consistency: consistencyOf(input) });
      const answer = await send("GET", target, signal);
      const entries = answer.entries.map((entry: any) => entryOf({ ...entry, key: input.key }));
      return { entries, nextPageToken: answer.next_page_token ?? "" };
    }
    case "DeleteKeys": {
      const { filters = [], purge, limit, pageToken } = input;
      const body = JSON.stringify({ filters, purge, limit, page_token: pageToken });
      const answer = await send("POST", `${bucket}/delete-keys`, signal, JSON_TYPE, body);
      return {
        ...{ deleted: answer.deleted, skipped: answer.skipped, revision: BigInt(answer.revision) },
        ...{ remainingMax: BigInt(answer.remaining_max ?? 0), nextPageToken: answer.next_page_token ?? "" },
      };
    }
    case "BatchGet": {
      const body = {
        keys: input.keys ?? [],
        revision: Number(input.revision ?? 0),
        consistency: consistencyOf(input),
      };
      const answer = await send("POST", `${bucket}/batch-get`, signal, JSON_TYPE, JSON.stringify(body));
      return {
        results: answer.results.map(({ key, entry }: any) =>
          entry === null ? { key } : { key, entry: entryOf(entry) },
        ),
        revision: BigInt(answer.revision),
        unreadKeys: answer.unread_keys ?? [],
      };
    }
    default:
      throw new Error(`no REST path for ${name}`);
  }
}

/** The calls of ConfigService. */
async function callConfig(
  api: string,
  name: string,
  input: any,
  signal: AbortSignal | undefined,
): Promise<any> {
  const config = `${api}/${encodeURIComponent(input.name ?? "")}`;
  const revision = input.condition?.case === "ifRevision" ? input.condition.value : input.ifRevision;
  const headers: Record<string, string> = { ...JSON_TYPE };
  if (revision) headers["If-Match"] = `"${revision}"`;
  if (input.condition?.case === "ifAbsent") headers["If-None-Match"] = "*";
  switch (name) {
    case "SetConfig":
      return revisionIn(await send("POST", config, signal, headers, input.data));
    case "PatchConfig":
      return revisionIn(await send("PATCH", config, signal, headers, input.data));
    case "GetConfig":
      return configState(await send("GET", config, signal));
    case "DeleteConfig":
      await send("DELETE", config, signal, headers);
      return {};
    case "ListConfigs": {
      const page = query({ limit: input.limit, page_token: input.pageToken });
      const answer = await send("GET", api + page, signal);
      return { configs: answer.configs.map(configState), nextPageToken: answer.next_page_token ?? "" };
    }
    default:
      throw new Error(`no REST path for ${name}`);
  }
}

function revisionIn({ name, revision }: any): any {
  return { name, revision: BigInt(revision) };
}

function configState({ name, data, revision, updatedAt }: any): any {
  const text = data === undefined || data === null ? "" : JSON.stringify(data);
  const state = { name, revision: BigInt(revision), updatedAt: timestampFromDate(new Date(updatedAt)) };
  return data === undefined ? state : { ...state, data: text };
}

async function send(
  method: string,
  url: string,
  signal: AbortSignal | undefined,
  headers: Record<string, string> = {},
  body?: string | Uint8Array,
): Promise<any> {
  const response = await fetch(url, {
    method,
    headers,
    ...(signal === undefined ? {} : { signal }),
    ...(body === undefined ? {} : { body: body as BodyInit }),
  });
  const text = await response.text();
  const json = text === "" ? undefined : JSON.parse(text);
  if (!response.ok) throw errorOf(json);
  return json;
}

function errorOf({ code: reason, error: sentence, operation_index, key, revision }: any): ConnectError {
  const code = (CODE_BY_KIND as Readonly<Record<string, Code | undefined>>)[reason];
  if (code === undefined) throw new Error(`REST answered with the code ${reason}, which is no kind of error`);
  const operation = { operationIndex: operation_index, key, revision: BigInt(revision ?? 0) };
  const value = operation_index === undefined ? { reason } : { reason, ...operation };
  return new ConnectError(sentence, code, undefined, [{ desc: ErrorDetailSchema, value }]);
}

function bucketJson(input: any): object {
  return {
    name: input.name,
    description: input.description,
    ttl_seconds: input.ttl === undefined ? undefined : Number(input.ttl.seconds),
    max_value_size: input.maxValueSize,
    max_bytes: input.maxBytes === undefined ? undefined : Number(input.maxBytes),
    history: input.history || undefined,
  };
}

function bucketOf(json: any): any {
  return create(BucketSchema, {
    name: json.name ?? "",
    description: json.description ?? "",
    ...(json.ttl_seconds === undefined ? {} : { ttl: { seconds: BigInt(json.ttl_seconds) } }),
    maxValueSize: json.max_value_size ?? 0,
    maxBytes: BigInt(json.max_bytes ?? 0),
    history: json.history ?? 0,
    values: BigInt(json.values ?? 0),
    bytes: BigInt(json.bytes ?? 0),
    ...(json.created_at === undefined ? {} : { createdAt: timestampFromDate(new Date(json.created_at)) }),
  });
}

const OPERATIONS: Record<string, Operation> = {
  put: Operation.PUT,
  delete: Operation.DELETE,
  purge: Operation.PURGE,
  expire: Operation.EXPIRE,
};

function entryOf(json: any): any {
  return create(EntrySchema, {
    key: json.key,
    value: Buffer.from(json.value ?? "", "base64"),
    revision: BigInt(json.revision),
    operation: OPERATIONS[json.operation] ?? Operation.UNSPECIFIED,
    ...(json.created_at === undefined ? {} : { createdAt: timestampFromDate(new Date(json.created_at)) }),
    ...(json.expires_at === undefined ? {} : { expiresAt: timestampFromDate(new Date(json.expires_at)) }),
    contentType: json.content_type ?? "",
    metadata: json.metadata ?? {},
  });
}

function ttlHeader(ttl: any): Record<string, string> {
  return ttl === undefined ? {} : { Ttl: String(ttl.seconds) };
}

function metadataHeaders(metadata: Record<string, string> = {}): Record<string, string> {
  return Object.fromEntries(
    Object.entries(metadata).map(([name, value]) => [`X-Kv-Meta-${name}`, encodeURIComponent(value)]),
  );
}

function conditionHeaders(input: any): Record<string, string> {
  const headers: Record<string, string> = { "Content-Type": input.contentType || "application/octet-stream" };
  const condition = input.precondition?.condition;
  if (input.idempotencyKey) headers["Idempotency-Key"] = input.idempotencyKey;
  if (condition?.case === "ifAbsent") headers["If-None-Match"] = "*";
  if (condition?.case === "ifRevision") {
    headers["If-Match"] = tagOf(condition.value, input.precondition.ifBucketCreatedAt);
  }
  return headers;
}

/** A revision as an entity tag, with the creation of its bucket where the request names it. */
function tagOf(revision: bigint, bucketCreatedAt: any): string {
  if (bucketCreatedAt === undefined) return `"${revision}"`;
  return `"${revision}-${timestampMs(bucketCreatedAt).toString(36)}"`;
}

function consistencyOf(input: any): string | undefined {
  return [undefined, "strong", "eventual"][input.consistency ?? 0];
}

function query(parameters: Record<string, unknown>): string {
  const set = Object.entries(parameters).filter(([, value]) => Boolean(value));
  return set.length === 0
    ? ""
    : `?${set.map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`).join("&")}`;
}

function watchTarget(api: string, request: any): string {
  const parameters = new URLSearchParams();
  for (const filter of request.filters ?? []) parameters.append("key", filter);
  if (request.start === 2) parameters.set("initial", "false");
  if (request.startRevision) parameters.set("start_revision", String(request.startRevision));
  parameters.set("snapshot_end", "true");
  if (request.ignoreDeletes) parameters.set("ignore_deletes", "true");
  if (request.keysOnly) parameters.set("keys_only", "true");
  if (request.previous) parameters.set("previous", "true");
  if (request.everyChange) parameters.set("every_change", "true");
  return `${api}/${encodeURIComponent(request.bucket)}/watch?${parameters.toString()}`;
}

async function* sseFrames(url: string, signal: AbortSignal | undefined): AsyncGenerator<any> {
  const response = await fetch(url, {
    headers: { accept: "text/event-stream" },
    ...(signal === undefined ? {} : { signal }),
  });
  if (!response.ok) {
    const json: any = await response.json();
    throw errorOf(json);
  }
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of response.body as any) {
    text += decoder.decode(chunk, { stream: true });
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const lines = text.slice(0, end).split("\n");
      text = text.slice(end + 2);
      const data = lines.filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim());
      if (data.length > 0) yield JSON.parse(data.join("\n"));
    }
  }
}

async function* webSocketFrames(url: string, signal: AbortSignal | undefined): AsyncGenerator<any> {
  const socket = new WebSocket(url.replace(/^http/, "ws"));
  const waiting: any[] = [];
  let wake: () => void = () => undefined;
  let failure: unknown;
  let isOver = false as boolean;
  const change = (update: () => void): void => {
    update();
    wake();
  };
  socket.on("message", (data) => change(() => waiting.push(JSON.parse((data as Buffer).toString()))));
  socket.on("unexpected-response", (_request, response) => {
    let body = "";
    response.on("data", (chunk) => (body += String(chunk)));
    response.on("end", () =>
      change(() => {
        const json = JSON.parse(body);
        failure = errorOf(json);
      }),
    );
  });
  socket.on("error", (error) => change(() => (failure ??= error)));
  socket.on("close", () => change(() => (isOver = true)));
  signal?.addEventListener("abort", () => change(() => (isOver = true)));
  try {
    for (;;) {
      if (waiting.length > 0) yield waiting.shift();
      else if (failure !== undefined) throw failure;
      else if (isOver) return;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    socket.on("error", () => undefined);
    socket.terminate();
  }
}

async function* responses<O extends DescMessage>(
  output: O,
  frames: AsyncGenerator<any>,
): AsyncGenerator<MessageShape<O>> {
  for await (const frame of frames) {
    const superseded = BigInt(frame.superseded ?? 0);
    if (frame.type === "config_update") {
      yield create(output, configState(frame));
    } else if (frame.type === "kv_update") {
      const previous = frame.previous === undefined ? {} : { previous: entryOf(frame.previous) };
      const commitRevision = BigInt(frame.commit_revision ?? 0);
      const value = { entry: entryOf(frame), commitRevision, ...previous };
      yield create(output, { event: { case: "change", value }, superseded } as any);
    } else if (frame.type === "snapshot_end") {
      const value = { revision: BigInt(frame.revision) };
      yield create(output, { event: { case: "snapshotEnd", value }, superseded } as any);
    } else {
      throw new Error(frame.message);
    }
  }
}
