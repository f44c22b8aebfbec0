/**
 * gRPC server reflection: https://github.com/grpc/grpc/blob/master/doc/server-reflection.md
 *
 * Serves v1, and v1alpha with the same messages for older clients.
 */
import { create, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import {
  type ServerReflection as ReflectionV1,
  type ServerReflectionRequest,
  ServerReflectionResponseSchema,
} from "../../gen/grpc/reflection/v1/reflection_pb.js";
import type { ServerReflection as ReflectionV1Alpha } from "../../gen/grpc/reflection/v1alpha/reflection_pb.js";
import type { DuplexHandler, Handlers } from "./calls.js";
import type { Descriptors } from "./descriptors.js";

type Reflection = typeof ReflectionV1 | typeof ReflectionV1Alpha;
type Answer = NonNullable<MessageInitShape<typeof ServerReflectionResponseSchema>["messageResponse"]>;

/** The handlers of either version. */
export function reflectionHandlers<Service extends Reflection>(
  service: Service,
  descriptors: Descriptors,
): Handlers<Service>;
export function reflectionHandlers(service: Reflection, descriptors: Descriptors): unknown {
  // Both versions have the same fields: use v1's types, but create messages of the version's own schema.
  const schema = service.method.serverReflectionInfo.output as typeof ServerReflectionResponseSchema;
  const serverReflectionInfo: DuplexHandler = (requests) =>
    Promise.resolve(answers(requests as AsyncIterable<ServerReflectionRequest>, descriptors, schema));
  return { serverReflectionInfo };
}

async function* answers(
  requests: AsyncIterable<ServerReflectionRequest>,
  descriptors: Descriptors,
  schema: typeof ServerReflectionResponseSchema,
): AsyncGenerator<MessageShape<typeof ServerReflectionResponseSchema>> {
  for await (const request of requests) {
    yield create(schema, {
      validHost: request.host,
      originalRequest: request,
      messageResponse: answerTo(request, descriptors),
    });
  }
}

/** The response to one request. An invalid request gets an error response, and the stream continues. */
function answerTo({ messageRequest: request }: ServerReflectionRequest, descriptors: Descriptors): Answer {
  switch (request.case) {
    case "listServices":
      return {
        case: "listServicesResponse",
        value: { service: descriptors.services.map((name) => ({ name })) },
      };
    case "fileByFilename":
      return fileAnswer(descriptors, descriptors.fileByName(request.value));
    case "fileContainingSymbol":
      return fileAnswer(descriptors, descriptors.fileBySymbolName(request.value));
    case "fileContainingExtension": {
      const { containingType, extensionNumber } = request.value;
      return fileAnswer(descriptors, descriptors.fileByExtension(containingType, extensionNumber));
    }
    case "allExtensionNumbersOfType": {
      const numbers = descriptors.extensionNumbers(request.value);
      if (numbers === undefined) return failure(Code.NotFound, "There is no message with this name.");
      return {
        case: "allExtensionNumbersResponse",
        value: { baseTypeName: request.value, extensionNumber: [...numbers] },
      };
    }
    case undefined:
      return failure(Code.InvalidArgument, "The request is empty; set one of its fields.");
  }
}

function fileAnswer(descriptors: Descriptors, file: ReturnType<Descriptors["fileByName"]>): Answer {
  if (file === undefined) return failure(Code.NotFound, "No served file declares this name.");
  return {
    case: "fileDescriptorResponse",
    value: { fileDescriptorProto: descriptors.withImports(file) },
  };
}

function failure(code: Code, sentence: string): Answer {
  return { case: "errorResponse", value: { errorCode: code, errorMessage: sentence } };
}
