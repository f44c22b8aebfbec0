/** grpc-js, with and without gzip on the channel. docs/clients.md has the table. */
import {
  create,
  type DescMessage,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  type CallOptions,
  Client,
  compressionAlgorithms,
  credentials,
  Metadata,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { expect } from "vitest";
import { KeyValueService, type WatchResponse } from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { API_KEY, createMatrixBucket, expectedLines, MISSING_KEY, UPPER_CASE_CODES } from "./client-lines.js";
import { serviceTest } from "../support/fixtures.js";

const DEADLINE_MS = 300;
const { put, get, watch } = KeyValueService.method;
const withKey = new Metadata();
withKey.set("authorization", `Bearer ${API_KEY}`);

const it = serviceTest({ "api-key": API_KEY });

/** The arguments that grpc-js has for a method. */
const callOf = <I extends DescMessage, O extends DescMessage>(
  { parent, name, input, output }: DescMethod & { input: I; output: O },
  request: MessageInitShape<I>,
) =>
  [
    `/${parent.typeName}/${name}`,
    (message: MessageShape<I>) => Buffer.from(toBinary(input, message)),
    (bytes: Buffer): MessageShape<O> => fromBinary(output, bytes),
    create(input, request),
  ] as const;

const send = <I extends DescMessage, O extends DescMessage>(
  client: Client,
  method: DescMethod & { input: I; output: O },
  request: MessageInitShape<I>,
  metadata = withKey,
): Promise<MessageShape<O>> =>
  new Promise((resolve, reject) => {
    client.makeUnaryRequest(...callOf(method, request), metadata, (error, response) => {
      if (response === undefined) reject(error ?? new Error("There is no response."));
      else resolve(response);
    });
  });

const events = (client: Client, bucket: string, options: CallOptions) =>
  client.makeServerStreamRequest(...callOf(watch, { bucket }), withKey, options);

/** What a call fails with. */
const errorOf = (call: Promise<unknown>): Promise<ServiceError> =>
  call.then(
    () => Promise.reject(new Error("The call succeeded.")),
    (error: unknown) => error as ServiceError,
  );
const codeOf = async (call: Promise<unknown>): Promise<string> => status[(await errorOf(call)).code];

it.for([
  ["identity", compressionAlgorithms.identity],
  ["gzip", compressionAlgorithms.gzip],
] as const)("grpc-js, %s", async ([, algorithm], { service }) => {
  const bucket = await createMatrixBucket(service);
  const client = new Client(`127.0.0.1:${service.port}`, credentials.createInsecure(), {
    "grpc.default_compression_algorithm": algorithm,
  });
  const lines: string[] = [];
  const request = { bucket, key: "k" };
  const { revision } = await send(client, put, { ...request, value: Buffer.from("Ann") });
  lines.push(`put ${revision === 1n}`);
  const { entry } = await send(client, get, request);
  lines.push(`get ${Buffer.from(entry?.value ?? []).toString()}`);
  const ifAbsent = { condition: { case: "ifAbsent" as const, value: true } };
  lines.push(`conflict ${await codeOf(send(client, put, { ...request, precondition: ifAbsent }))}`);
  lines.push(`too large ${await codeOf(send(client, put, { ...request, value: Buffer.alloc(2 << 20) }))}`);
  lines.push(`missing ${(await errorOf(send(client, get, { bucket, key: MISSING_KEY }))).details}`);
  lines.push(`without key ${await codeOf(send(client, get, request, new Metadata()))}`);
  for await (const { event } of events(client, bucket, {}) as AsyncIterable<WatchResponse>) {
    if (event.case !== "change") continue;
    lines.push(`watch ${event.value.entry?.key}`);
    break;
  }
  const untilDeadline = events(client, bucket, { deadline: Date.now() + DEADLINE_MS }).toArray();
  lines.push(`deadline ${await codeOf(untilDeadline)}`);
  client.close();
  expect(lines).toEqual(expectedLines(bucket, UPPER_CASE_CODES));
});
