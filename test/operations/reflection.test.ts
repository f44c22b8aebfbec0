/** Server reflection, asked by clients that have no files of the contract: gRPC's own library, and buf curl. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { promisify } from "node:util";
import {
  create,
  createFileRegistry,
  type DescMessage,
  type DescMethod,
  type DescService,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import {
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import { type Client, credentials, Metadata, type MethodDefinition, status } from "@grpc/grpc-js";
import { makeClientConstructor, type ServiceError } from "@grpc/grpc-js";
import { describe, expect } from "vitest";
import {
  ServerReflection,
  type ServerReflectionRequestSchema,
  type ServerReflectionResponse,
} from "../../gen/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as ServerReflectionAlpha } from "../../gen/grpc/reflection/v1alpha/reflection_pb.js";
import { serviceTest } from "../support/fixtures.js";
import { startTestService } from "../support/service.js";

const KEY = "correct-horse-battery";
const BUF = join(import.meta.dirname, "../../node_modules/.bin/buf");
const SERVICES = [
  "grpc.health.v1.Health",
  "grpc.reflection.v1.ServerReflection",
  "grpc.reflection.v1alpha.ServerReflection",
  "ironflow.kv.v1.ApiKeyService",
  "ironflow.kv.v1.BucketService",
  "ironflow.kv.v1.KeyValueService",
];

const it = serviceTest({ "api-key": KEY })
  .extend("connect", ({ service }) => (): Client => {
    return new (makeClientConstructor({}, "any"))(new URL(service.url).host, credentials.createInsecure());
  })
  /** Asks several questions on one stream. */
  .extend(
    "ask",
    ({ connect }) =>
      async (
        reflection: DescService,
        questions: readonly Request[],
        metadata = withKey(),
      ): Promise<ServerReflectionResponse["messageResponse"][]> => {
        const client = connect();
        const [method] = reflection.methods;
        if (method === undefined) throw new Error("no method");
        const { path, requestSerialize, responseDeserialize } = methodOf(method);
        const call = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, metadata);
        const answers: ServerReflectionResponse["messageResponse"][] = [];
        call.on("data", (message: unknown) =>
          answers.push((message as ServerReflectionResponse).messageResponse),
        );
        try {
          const ended = once(call, "end");
          for (const messageRequest of questions) {
            call.write(create(method.input as typeof ServerReflectionRequestSchema, { messageRequest }));
          }
          call.end();
          await ended;
          return answers;
        } finally {
          client.close();
        }
      },
  );

type Request = NonNullable<MessageInitShape<typeof ServerReflectionRequestSchema>["messageRequest"]>;

/** A gRPC method of grpc-js from a descriptor. */
function methodOf(
  method: DescMethod,
): MethodDefinition<MessageShape<DescMessage>, MessageShape<DescMessage>> {
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: method.methodKind === "bidi_streaming",
    responseStream: method.methodKind !== "unary",
    requestSerialize: (message) => Buffer.from(toBinary(method.input, message)),
    requestDeserialize: (bytes) => fromBinary(method.input, bytes),
    responseSerialize: (message) => Buffer.from(toBinary(method.output, message)),
    responseDeserialize: (bytes) => fromBinary(method.output, bytes),
  };
}

function withKey(): Metadata {
  const metadata = new Metadata();
  metadata.set("authorization", `Bearer ${KEY}`);
  return metadata;
}

/** Each file behind those that it imports, as the library wants them. */
function importsFirst(files: readonly FileDescriptorProto[]): FileDescriptorProto[] {
  const sorted = new Set<FileDescriptorProto>();
  const add = (file: FileDescriptorProto): void => {
    for (const name of file.dependency) {
      const imported = files.find((one) => one.name === name);
      if (imported !== undefined) add(imported);
    }
    sorted.add(file);
  };
  for (const file of files) add(file);
  return [...sorted];
}

describe.each([
  ["v1", ServerReflection],
  ["v1alpha", ServerReflectionAlpha],
] as const)("reflection %s", (_, reflection) => {
  it("lists every service", async ({ ask }) => {
    const [answer] = await ask(reflection, [{ case: "listServices", value: "*" }]);
    if (answer?.case !== "listServicesResponse") throw new Error(`got ${answer?.case ?? "nothing"}`);
    const names = answer.value.service.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(SERVICES));
    expect(names).toEqual([...names].sort());
  });

  it("gives what a client needs to call a service that it knows nothing of", async ({ ask, connect }) => {
    const [answer] = await ask(reflection, [
      { case: "fileContainingSymbol", value: "ironflow.kv.v1.BucketService" },
    ]);
    if (answer?.case !== "fileDescriptorResponse") throw new Error(`got ${answer?.case ?? "nothing"}`);
    const files = answer.value.fileDescriptorProto.map((bytes) =>
      fromBinary(FileDescriptorProtoSchema, bytes),
    );
    const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: importsFirst(files) }));
    const createBucket = registry.getService("ironflow.kv.v1.BucketService")?.method.createBucket;
    if (createBucket === undefined) throw new Error("no such method");
    const { path, requestSerialize, responseDeserialize } = methodOf(createBucket);
    const client = connect();
    const request = create(createBucket.input, {
      name: `by-${reflection.typeName.split(".").at(-2) ?? ""}`,
    });
    const response = await new Promise<MessageShape<DescMessage>>((resolve, reject) => {
      client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        withKey(),
        (error, answer) => (answer === undefined ? reject(error ?? new Error("no answer")) : resolve(answer)),
      );
    });
    client.close();
    expect(toJson(createBucket.output, response)).toMatchObject({
      bucket: { name: expect.stringMatching(/^by-v1/) as string, history: 1 },
    });
  });

  it("refuses who has no key", async ({ ask }) => {
    const error = await ask(reflection, [{ case: "listServices", value: "" }], new Metadata()).then(
      () => undefined,
      (thrown: unknown) => thrown as ServiceError,
    );
    expect(error?.code).toBe(status.UNAUTHENTICATED);
  });
});

describe("a file is found", () => {
  const file = (name: string): string => `file ${name}`;
  it.for<[Request, string]>([
    [{ case: "fileByFilename", value: "ironflow/kv/v1/types.proto" }, file("ironflow/kv/v1/types.proto")],
    [{ case: "fileByFilename", value: "google/api/http.proto" }, file("google/api/http.proto")],
    [{ case: "fileByFilename", value: "grpc/health/v1/health.proto" }, file("grpc/health/v1/health.proto")],
    [
      { case: "fileByFilename", value: "google/protobuf/timestamp.proto" },
      file("google/protobuf/timestamp.proto"),
    ],
    [{ case: "fileByFilename", value: "../../etc/passwd" }, "error 5"],
    [{ case: "fileContainingSymbol", value: "ironflow.kv.v1.Entry" }, file("ironflow/kv/v1/types.proto")],
    [
      { case: "fileContainingSymbol", value: "ironflow.kv.v1.Entry.value" },
      file("ironflow/kv/v1/types.proto"),
    ],
    [{ case: "fileContainingSymbol", value: "ironflow.kv.v1.Operation" }, file("ironflow/kv/v1/types.proto")],
    [
      { case: "fileContainingSymbol", value: "ironflow.kv.v1.OPERATION_PUT" },
      file("ironflow/kv/v1/types.proto"),
    ],
    [
      { case: "fileContainingSymbol", value: "ironflow.kv.v1.KeyValueService.Get" },
      file("ironflow/kv/v1/key_value_service.proto"),
    ],
    [
      { case: "fileContainingSymbol", value: "ironflow.kv.v1.WatchRequest.Start" },
      file("ironflow/kv/v1/key_value_service.proto"),
    ],
    [{ case: "fileContainingSymbol", value: "google.api.http" }, file("google/api/annotations.proto")],
    [{ case: "fileContainingSymbol", value: "no.such.Thing" }, "error 5"],
    [{ case: "fileContainingSymbol", value: "" }, "error 5"],
    [
      {
        case: "fileContainingExtension",
        value: { containingType: "google.protobuf.MethodOptions", extensionNumber: 72295728 },
      },
      file("google/api/annotations.proto"),
    ],
    [
      {
        case: "fileContainingExtension",
        value: { containingType: "google.protobuf.MethodOptions", extensionNumber: 1 },
      },
      "error 5",
    ],
    [{ case: "allExtensionNumbersOfType", value: "google.protobuf.MethodOptions" }, "numbers 72295728"],
    [{ case: "allExtensionNumbersOfType", value: "ironflow.kv.v1.Entry" }, "numbers "],
    [{ case: "allExtensionNumbersOfType", value: "no.such.Message" }, "error 5"],
    [{ case: undefined }, "error 3"],
  ])("for %j: %s", async ([question, expected], { ask }) => {
    const [answer, goesOn] = await ask(ServerReflection, [question, { case: "listServices", value: "" }]);
    expect(goesOn?.case).toBe("listServicesResponse");
    expect(shown(answer)).toBe(expected);
  });

  function shown(answer: ServerReflectionResponse["messageResponse"] | undefined): string {
    switch (answer?.case) {
      case "errorResponse":
        return `error ${answer.value.errorCode}`;
      case "allExtensionNumbersResponse":
        return `numbers ${answer.value.extensionNumber.join()}`;
      case "fileDescriptorResponse": {
        const [first = new Uint8Array()] = answer.value.fileDescriptorProto;
        return file(fromBinary(FileDescriptorProtoSchema, first).name);
      }
      default:
        return `got ${answer?.case ?? "nothing"}`;
    }
  }
});

describe("buf curl", () => {
  it.for(["grpc", "grpcweb", "connect"])(
    "lists, describes and calls by %s, without files",
    async (protocol, { service }) => {
      const run = async (...args: string[]): Promise<string> => {
        const all = ["curl", "--http2-prior-knowledge", "--protocol", protocol];
        const header = `authorization: Bearer ${KEY}`;
        const env = { ...process.env, BUF_CACHE_DIR: service.dataDir };
        const { stdout } = await promisify(execFile)(
          BUF,
          [...all, "--header", header, "--reflect-header", header, "--reflect", ...args],
          { env, cwd: service.dataDir },
        );
        return stdout;
      };
      expect(await run("--list-methods", service.url)).toContain("ironflow.kv.v1.KeyValueService/Watch");
      const called = await run(
        "--emit-defaults",
        "-d",
        "{}",
        `${service.url}/ironflow.kv.v1.BucketService/ListBuckets`,
      );
      expect(JSON.parse(called)).toHaveProperty("buckets");
    },
  );
});

describe("REFLECTION=false", () => {
  it("serves no reflection, and says so", async () => {
    const silent = await startTestService({ reflection: "false" });
    const answer = await fetch(`${silent.url}/grpc.reflection.v1.ServerReflection/ServerReflectionInfo`, {
      method: "POST",
      headers: { "content-type": "application/grpc" },
    });
    // UNIMPLEMENTED (https://grpc.github.io/grpc/core/md_doc_statuscodes.html).
    expect([answer.status, answer.headers.get("grpc-status")]).toEqual([200, "12"]);
    await silent.remove();
  });
});
