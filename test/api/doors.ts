/** Every door as a Connect transport, so that one suite written on the generated clients runs over all of them. */
import type { Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { createGrpcWebTextTransport } from "./grpc-web-text-transport.js";
import { createRestTransport } from "./rest-transport.js";

/** A way in. */
export interface Door {
  readonly name: string;
  /** Whether errors carry an ErrorDetail with revisions (REST has its own, smaller shape). */
  readonly hasDetails: boolean;
  /** Whether it is a plain protobuf door that carries every field of the contract. */
  readonly isWholeContract: boolean;
  connect(url: string, headers?: Readonly<Record<string, string>>): Transport;
}

type NodeOptions = { baseUrl: string; httpVersion: "1.1" | "2"; useBinaryFormat: boolean };

function door(
  name: string,
  make: (options: NodeOptions & { interceptors: never[] }) => Transport,
  httpVersion: "1.1" | "2",
  useBinaryFormat: boolean,
): Door {
  return {
    name: `${name} ${useBinaryFormat ? "proto" : "JSON"}, HTTP/${httpVersion}`,
    hasDetails: true,
    isWholeContract: true,
    connect: (baseUrl) => make({ baseUrl, httpVersion, useBinaryFormat, interceptors: [] }),
  };
}

export const CONTRACT_DOORS: readonly Door[] = [
  door("gRPC", (options) => createGrpcTransport(options), "2", true),
  door("gRPC", (options) => createGrpcTransport(options), "2", false),
  door("gRPC-Web", (options) => createGrpcWebTransport(options), "1.1", true),
  door("gRPC-Web", (options) => createGrpcWebTransport(options), "2", true),
  door("gRPC-Web", (options) => createGrpcWebTransport(options), "1.1", false),
  door("Connect", (options) => createConnectTransport(options), "1.1", true),
  door("Connect", (options) => createConnectTransport(options), "1.1", false),
  door("Connect", (options) => createConnectTransport(options), "2", true),
  door("Connect", (options) => createConnectTransport(options), "2", false),
  {
    name: "gRPC-Web text, HTTP/1.1",
    hasDetails: true,
    isWholeContract: true,
    connect: createGrpcWebTextTransport,
  },
  {
    name: "Connect GET, HTTP/1.1",
    hasDetails: true,
    isWholeContract: true,
    connect: (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1", useHttpGet: true }),
  },
];

/** Their codec and their version of HTTP are those of other doors, of the same protocol or with the same envelope. */
const REPEATED_COMBINATIONS: ReadonlySet<string> = new Set([
  "gRPC JSON, HTTP/2",
  "gRPC-Web proto, HTTP/1.1",
  "gRPC-Web proto, HTTP/2",
  "Connect JSON, HTTP/1.1",
  "Connect proto, HTTP/2",
]);

export const REST_DOORS: readonly Door[] = (["sse", "websocket"] as const).map((watchBy) => ({
  name: `REST, watch over ${watchBy === "sse" ? "SSE" : "WebSocket"}`,
  hasDetails: false,
  isWholeContract: false,
  connect: (url) => createRestTransport(url, watchBy),
}));

/** DOORS=all, as `.ci/run` sets it: every combination of a protocol, a codec and a version of HTTP. */
const IS_EVERY_COMBINATION = process.env.DOORS === "all";

/** What the suites of watches run over: each protocol, each codec and each version of HTTP. */
export const ALL_DOORS: readonly Door[] = [...CONTRACT_DOORS, ...REST_DOORS].filter(
  ({ name }) => IS_EVERY_COMBINATION || !REPEATED_COMBINATIONS.has(name),
);

/** What the suites of other calls run over: REST is one door, however it watches. */
export const CALL_DOORS: readonly Door[] = ALL_DOORS.filter(
  (door) => IS_EVERY_COMBINATION || !REST_DOORS.slice(1).includes(door),
);
