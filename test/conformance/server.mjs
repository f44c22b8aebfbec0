/**
 * The server under test: the service's own listener and doors, serving the conformance suite's service instead of ours. It reads what is
 * asked of it from standard input, says on standard output where it listens, and runs until it is told to end.
 *
 * Arguments: the file of the suite's descriptors, `fast` or `stock`, and the folder where the service is compiled.
 */
import { createFileRegistry, fromBinary, toBinary, create } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { parseTimeout as parseConnectTimeout } from "@connectrpc/connect/protocol-connect";
import { parseTimeout as parseGrpcTimeout } from "@connectrpc/connect/protocol-grpc";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { createConformanceService } from "./service.mjs";

const [descriptorFile, mode, compiled] = process.argv.slice(2);
const { DEFAULT_LIMITS } = await load("kv/limits.js");
const { createStockHandler } = await load("protocol/stock-handler.js");
const { createFastPath } = await load("protocol/fast-path.js");
const { listen } = await load("listener/listener.js");
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(descriptorFile)));
const serviceDesc = registry.getService("connectrpc.conformance.v1.ConformanceService");
const service = createConformanceService(registry);
const log = { error: (fields, text) => console.error(text, fields) };

/** The query of each GET, by the headers object that the call has too. */
const queries = new WeakMap();

const request = await readRequest();
const limits = {
  ...DEFAULT_LIMITS,
  messageBytesMax: request.messageReceiveLimit || DEFAULT_LIMITS.messageBytesMax,
};
const jsonOptions = { registry };
const stock = createStockHandler({
  routes: (router) => router.service(serviceDesc, stockImplementation()),
  limits,
  jsonOptions,
  log,
});
const fastPath =
  mode === "fast" ? createFastPath({ registry: fastRegistry(), limits, jsonOptions, log }) : undefined;
const taken = { unary: 0, streaming: 0 };

const listener = await listen({
  host: "127.0.0.1",
  port: 0,
  limits,
  tls: request.useTls
    ? {
        cert: Buffer.from(request.serverCreds.cert).toString(),
        key: Buffer.from(request.serverCreds.key).toString(),
        ...(request.clientTlsCert.length > 0
          ? { clientCa: Buffer.from(request.clientTlsCert).toString() }
          : {}),
      }
    : undefined,
  handler: {
    handle(exchange) {
      noteQuery(exchange);
      if (!fastPath?.handle(exchange)) stock(exchange);
    },
    handleSimple(exchange) {
      noteQuery(exchange);
      return fastPath?.handleUnary(exchange) === true;
    },
    handleUpgrade: ({ socket }) => socket.destroy(),
  },
});

writeResponse({
  host: "127.0.0.1",
  port: listener.port,
  pemCert: request.useTls ? request.serverCreds.cert : new Uint8Array(0),
});
process.once("SIGTERM", () => {
  // The script adds these lines up.
  if (mode === "fast") console.error(`fast path: ${taken.unary} unary, ${taken.streaming} streaming`);
  process.exit(0);
});

function load(file) {
  return import(pathToFileURL(`${compiled}/src/${file}`).href);
}

/** Serves the stock adapter from the library's context. */
function stockImplementation() {
  const wrap = (run) => (input, context) =>
    run(input, {
      requestHeaders: context.requestHeader,
      // As sent: what the context tells is what is left of it.
      timeoutMs: timeoutOf(context.requestHeader),
      signal: context.signal,
      query: context.requestMethod === "GET" ? new URL(context.url).searchParams : undefined,
      responseHeader: context.responseHeader,
      responseTrailer: context.responseTrailer,
    });
  const { unimplemented: _, ...implemented } = service;
  return Object.fromEntries(Object.entries(implemented).map(([name, run]) => [name, wrap(run)]));
}

function timeoutOf(headers) {
  return (
    parseGrpcTimeout(headers.get("grpc-timeout")).timeoutMs ??
    parseConnectTimeout(headers.get("connect-timeout-ms")).timeoutMs
  );
}

/** Serves the fast path: as the service's own registry, with headers and trailers besides. */
function fastRegistry() {
  const methods = new Map(
    serviceDesc.methods.map((desc) => {
      const path = `/${serviceDesc.typeName}/${desc.name}`;
      return [path, { path, service: serviceDesc, desc, handler: service[desc.localName] }];
    }),
  );
  const run = (method, call, message) => {
    call.ownHeaders = new Headers();
    call.ownTrailers = new Headers();
    return method.handler(message, {
      requestHeaders: Object.entries(call.requestHeaders).filter(([name]) => !name.startsWith(":")),
      timeoutMs: call.timeoutMs,
      signal: call.signal,
      query: queries.get(call.requestHeaders),
      responseHeader: call.ownHeaders,
      responseTrailer: call.ownTrailers,
    });
  };
  return {
    methods,
    authenticate: () => undefined,
    unary(...call) {
      taken.unary++;
      return run(...call);
    },
    stream(...call) {
      taken.streaming++;
      return run(...call);
    },
  };
}

function noteQuery({ method, target, headers }) {
  if (method === "GET") queries.set(headers, new URL(target, "http://localhost").searchParams);
}

/** A message of the runner's: four bytes of length, then the message. */
async function readRequest() {
  let bytes = Buffer.alloc(0);
  for await (const chunk of process.stdin) {
    bytes = Buffer.concat([bytes, chunk]);
    if (bytes.length >= 4 && bytes.length >= 4 + bytes.readUInt32BE(0)) break;
  }
  return fromBinary(registry.getMessage("connectrpc.conformance.v1.ServerCompatRequest"), bytes.subarray(4));
}

function writeResponse(fields) {
  const desc = registry.getMessage("connectrpc.conformance.v1.ServerCompatResponse");
  const message = toBinary(desc, create(desc, fields));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(message.length);
  process.stdout.write(Buffer.concat([length, message]));
}
