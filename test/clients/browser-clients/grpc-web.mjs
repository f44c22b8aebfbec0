// The official client of gRPC-Web in a page. The messages are those of protobuf-es: the client accepts any.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { KeyValueService } from "@ironflow-kv/client/gen";
import grpcWeb from "grpc-web";
import { callAll } from "./calls.mjs";

const { GrpcWebClientBase, MethodDescriptor, MethodType, StatusCode } = grpcWeb;
// As stubs set it, by the mode that they were generated with.
const FORMATS = { grpcwebtext: "text", grpcweb: "binary" };
const NAMES = Object.fromEntries(Object.entries(StatusCode).map(([name, code]) => [code, name]));

function describe({ parent, name, methodKind, input, output }) {
  const serialize = (request) => toBinary(input, create(input, request));
  const type = methodKind === "unary" ? MethodType.UNARY : MethodType.SERVER_STREAMING;
  const deserialize = (bytes) => fromBinary(output, bytes);
  return new MethodDescriptor(`/${parent.typeName}/${name}`, type, Object, Object, serialize, deserialize);
}

export function run({ url, protocol, ...options }) {
  const client = new GrpcWebClientBase({ format: FORMATS[protocol] });
  const headersOf = (apiKey) => (apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` });
  const call = (start, method, request, metadata) => {
    const descriptor = describe(KeyValueService.method[method]);
    return client[start](url + descriptor.getName(), request, metadata, descriptor);
  };
  async function* watch(request, apiKey, timeoutMs) {
    const deadline = timeoutMs === undefined ? {} : { deadline: String(Date.now() + timeoutMs) };
    const stream = call("serverStreaming", "watch", request, { ...headersOf(apiKey), ...deadline });
    const events = new ReadableStream({
      start(controller) {
        stream.on("data", (event) => controller.enqueue({ event }));
        const { promise, resolve } = Promise.withResolvers();
        // After an error, the stream ends as well. The error is queued: events that came before it are read first.
        stream.on("error", (error) => resolve(controller.enqueue({ error }))).on("end", resolve);
        promise.then(() => controller.close());
      },
    }).getReader();
    try {
      for (let next = await events.read(); !next.done; next = await events.read()) {
        if (next.value.error !== undefined) throw next.value.error;
        yield next.value.event;
      }
    } finally {
      stream.cancel();
    }
  }
  return callAll(
    {
      unary: (method, request, apiKey) => call("unaryCall", method, request, headersOf(apiKey)),
      watch,
      nameOf: (code) => NAMES[code],
      // In this mode, the client shows a stream when it has ended.
      isIncremental: protocol !== "grpcweb",
    },
    options,
  );
}
