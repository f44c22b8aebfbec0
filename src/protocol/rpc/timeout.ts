/** Timeouts as clients send them: `grpc-timeout` (gRPC over HTTP/2, "Requests") and `connect-timeout-ms` (Connect, "Timeouts"). */
import type { IncomingHttpHeaders } from "node:http";
import type { WireForm } from "./protocol.js";

const GRPC_TIMEOUT = /^(\d{1,8})([HMSmun])$/;
const CONNECT_TIMEOUT = /^\d{1,10}$/;

const MS_BY_UNIT: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 0.001,
  n: 0.000001,
};

/** The timeout in milliseconds; undefined if there is none. */
export function timeoutOf(form: WireForm, headers: IncomingHttpHeaders): number | undefined | "malformed" {
  const text = headers[form.timeoutHeader];
  if (text === undefined) return undefined;
  if (typeof text !== "string") return "malformed";
  if (form.timeoutHeader === "connect-timeout-ms") {
    return CONNECT_TIMEOUT.test(text) ? Number(text) : "malformed";
  }
  const match = GRPC_TIMEOUT.exec(text);
  if (match === null) return "malformed";
  return Number(match[1]) * (MS_BY_UNIT[match[2] ?? ""] ?? NaN);
}
