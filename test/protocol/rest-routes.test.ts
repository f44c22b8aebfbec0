/** Rules that can't be served fail the service at startup, with an error that names the method and the rule. */
import { create, createFileRegistry, setExtension } from "@bufbuild/protobuf";
import {
  DescriptorProtoSchema,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FieldDescriptorProtoSchema,
  FileDescriptorProtoSchema,
  MethodDescriptorProtoSchema,
  MethodOptionsSchema,
  ServiceDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { http } from "../../gen/google/api/annotations_pb.js";
import { type HttpRule, HttpRuleSchema } from "../../gen/google/api/http_pb.js";
import { createRouter, RouteError } from "../../src/protocol/rest/routes.js";
import type { BoundMethod } from "../../src/service/calls.js";
import { recordingRegistry } from "../support/http-bridge.js";

const get = (path: string, rest: { body?: string; additionalBindings?: HttpRule[] } = {}): HttpRule =>
  create(HttpRuleSchema, { pattern: { case: "get", value: path }, ...rest });
const put = (path: string, rest: { body?: string } = {}): HttpRule =>
  create(HttpRuleSchema, { pattern: { case: "put", value: path }, ...rest });
const custom = (kind: string, path: string): HttpRule =>
  create(HttpRuleSchema, { pattern: { case: "custom", value: { kind, path } } });
const noRule = create(HttpRuleSchema);

/** A contract with one service, whose methods have these rules. The request has `name`, `data`, `count`, `tags` and `inner`. */
function contractOf(
  rules: readonly HttpRule[],
  streaming: { readonly server?: boolean; readonly client?: boolean } = {},
): { methods: ReadonlyMap<string, BoundMethod> } {
  const field = (name: string, number: number, type: FieldDescriptorProto_Type, rest = {}) =>
    create(FieldDescriptorProtoSchema, {
      name,
      number,
      type,
      label: FieldDescriptorProto_Label.OPTIONAL,
      ...rest,
    });
  const file = create(FileDescriptorProtoSchema, {
    name: "test.proto",
    package: "test",
    syntax: "proto3",
    messageType: [
      create(DescriptorProtoSchema, {
        name: "Request",
        field: [
          field("name", 1, FieldDescriptorProto_Type.STRING),
          field("data", 2, FieldDescriptorProto_Type.BYTES),
          field("count", 3, FieldDescriptorProto_Type.UINT32),
          field("tags", 4, FieldDescriptorProto_Type.STRING, { label: FieldDescriptorProto_Label.REPEATED }),
          field("inner", 5, FieldDescriptorProto_Type.MESSAGE, { typeName: ".test.Request" }),
        ],
      }),
    ],
    service: [
      create(ServiceDescriptorProtoSchema, {
        name: "Service",
        method: rules.map((rule, index) => {
          const options = create(MethodOptionsSchema);
          setExtension(options, http, rule);
          return create(MethodDescriptorProtoSchema, {
            name: `Method${index}`,
            inputType: ".test.Request",
            outputType: ".test.Request",
            serverStreaming: streaming.server ?? false,
            clientStreaming: streaming.client ?? false,
            options,
          });
        }),
      }),
    ],
  });
  const service = createFileRegistry(file, () => undefined).getService("test.Service");
  if (service === undefined) throw new Error("no service");
  return {
    methods: new Map(
      service.methods.map((desc) => {
        const path = `/test.Service/${desc.name}`;
        return [
          path,
          { path, service, desc, handler: (): Promise<never> => Promise.reject(new Error("unused")) },
        ];
      }),
    ),
  };
}

describe("routes from the contract", () => {
  it("serves every rule of the contract", () => {
    const router = createRouter(recordingRegistry({}));
    const found = (method: string, path: string): string | undefined =>
      router.find(method, path)?.route.target.method.desc.name;
    expect(found("POST", "/api/v1/kv/buckets")).toBe("CreateBucket");
    expect(found("GET", "/api/v1/kv/buckets")).toBe("ListBuckets");
    expect(found("GET", "/api/v1/kv/buckets/b")).toBe("GetBucket");
    expect(found("PATCH", "/api/v1/kv/buckets/b")).toBe("UpdateBucket");
    expect(found("DELETE", "/api/v1/kv/buckets/b")).toBe("DeleteBucket");
    expect(found("GET", "/api/v1/kv/buckets/b/keys")).toBe("ListKeys");
    expect(found("GET", "/api/v1/kv/buckets/b/keys/a/b")).toBe("Get");
    expect(found("PUT", "/api/v1/kv/buckets/b/keys/a/b")).toBe("Put");
    expect(found("DELETE", "/api/v1/kv/buckets/b/keys/a/b")).toBe("Delete");
    expect(found("GET", "/api/v1/kv/buckets/b/history/a/b")).toBe("GetHistory");
    expect(found("GET", "/api/v1/kv/buckets/b/watch")).toBe("Watch");
  });

  it("serves additional and custom bindings", () => {
    const router = createRouter(
      contractOf([
        get("/v1/{name}", {
          additionalBindings: [put("/v2/{name}", { body: "data" }), custom("REPORT", "/v3")],
        }),
      ]),
    );
    for (const [method, path] of [
      ["GET", "/v1/x"],
      ["PUT", "/v2/x"],
      ["REPORT", "/v3"],
    ] as const) {
      expect(router.find(method, path)?.route.target.method.desc.name).toBe("Method0");
    }
  });

  it("skips a method without a rule", () => {
    expect(createRouter(contractOf([noRule])).methodsOf("/")).toEqual([]);
  });

  it.each<[string, readonly HttpRule[], string, { server?: boolean; client?: boolean }?]>([
    ["an unknown field in the path", [get("/v1/{nme}")], "GET /v1/{nme}: test.Request has no field nme"],
    ["a field of a field", [get("/v1/{inner.name}")], "not supported"],
    ["a list in the path", [get("/v1/{tags}")], "can't be written in a path"],
    ["a message in the path", [get("/v1/{inner}")], "can't be written in a path"],
    ["an unknown body field", [put("/v1/{name}", { body: "dta" })], "no field dta"],
    [
      "a body field that is not bytes or a string",
      [put("/v1/{name}", { body: "inner" })],
      "no bytes or string field",
    ],
    [
      "a body field that is in the path",
      [put("/v1/{data}", { body: "data" })],
      "both in the path and the body",
    ],
    ["a body on GET", [get("/v1", { body: "*" })], "GET takes no body"],
    ["a malformed template", [get("v1")], "'/' is expected"],
    ["a verb", [get("/v1/{name}:undo")], "verbs are not supported"],
    ["a custom rule for every method", [custom("*", "/v1")], "custom"],
    ["the same route twice", [get("/v1/{name}"), get("/v1/{count}")], "matches the same paths"],
    [
      "bindings in bindings",
      [
        get("/v1", {
          additionalBindings: [get("/v2", { additionalBindings: [get("/v3")] })],
        }),
      ],
      "can't have additional_bindings",
    ],
    ["an additional binding without a path", [get("/v1", { additionalBindings: [noRule] })], "no pattern"],
    ["a stream by PUT", [put("/v1")], "takes GET", { server: true }],
    ["a client's stream", [get("/v1")], "no REST form", { client: true }],
  ])("refuses %s", (_, rules, problem, streaming) => {
    const build = (): unknown => createRouter(contractOf(rules, streaming));
    expect(build).toThrow(RouteError);
    expect(build).toThrow(problem);
    expect(build).toThrow("/test.Service/Method");
  });
});
