/** What the suites that run over every door share. */
import { type Client, Code, ConnectError, createClient } from "@connectrpc/connect";
import { expect } from "vitest";
import { BucketService } from "../../gen/ironflow/kv/v1/bucket_service_pb.js";
import { ConfigService } from "../../gen/ironflow/kv/v1/config_service_pb.js";
import { KeyValueService, type WatchResponse } from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { ErrorDetailSchema, type ErrorDetail } from "../../gen/ironflow/kv/v1/types_pb.js";
import type { Door } from "./doors.js";

export interface Clients {
  readonly buckets: Client<typeof BucketService>;
  readonly kv: Client<typeof KeyValueService>;
  readonly configs: Client<typeof ConfigService>;
}

export function clientsOf(door: Door, url: string): Clients {
  const transport = door.connect(url);
  return {
    buckets: createClient(BucketService, transport),
    kv: createClient(KeyValueService, transport),
    configs: createClient(ConfigService, transport),
  };
}

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
export const text = (value: Uint8Array | undefined): string => new TextDecoder().decode(value);

/** Expects a call to fail with this code and reason; returns the detail. */
export async function refusal(
  call: Promise<unknown>,
  code: Code,
  reason: string,
): Promise<ErrorDetail | undefined> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error, `expected ${reason}, but the call went well`).toBeInstanceOf(ConnectError);
  const failure = error as ConnectError;
  const detail = failure.findDetails(ErrorDetailSchema)[0];
  expect({ code: Code[failure.code], reason: detail?.reason, sentence: failure.rawMessage }).toMatchObject({
    code: Code[code],
    reason,
  });
  expect(failure.rawMessage).toMatch(/^[A-Za-z].{10,}/);
  expect(failure.rawMessage).not.toMatch(
    /nats|jetstream|\bstream\b|KV_APP|\$(KV|JS)|consumer|at .*\.(ts|js):/i,
  );
  return detail;
}

/** Reads events of a watch until there are this many, then leaves it. */
export async function take(stream: AsyncIterable<WatchResponse>, count: number): Promise<WatchResponse[]> {
  const events: WatchResponse[] = [];
  if (count === 0) return events;
  for await (const event of stream) {
    events.push(event);
    if (events.length === count) break;
  }
  return events;
}

/** A watch event in a line: `put a=1 @3`, `end @3`. */
export function line(event: WatchResponse): string {
  switch (event.event.case) {
    case "change": {
      const entry = event.event.value.entry;
      const operation = ["?", "put", "delete", "purge", "expire"][entry?.operation ?? 0] ?? "?";
      const value = operation === "put" ? `=${text(entry?.value)}` : "";
      return `${operation} ${entry?.key ?? ""}${value} @${entry?.revision ?? 0n}`;
    }
    case "snapshotEnd":
      return `end @${event.event.value.revision}`;
    case "progress":
      return "progress";
    default:
      return "nothing";
  }
}
