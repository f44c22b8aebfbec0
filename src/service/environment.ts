/** The environment of a call: a namespace of buckets. Handlers and the store see qualified bucket names (`kv/names.ts`). */
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { checkEnvironmentName, DEFAULT_ENVIRONMENT, qualifiedBucketName } from "../kv/names.js";
import { CreateBucketRequestSchema } from "../../gen/ironflow/kv/v1/bucket_service_pb.js";
import type { CallInput } from "./calls.js";

/** The header, or gRPC metadata, that names the environment. */
export const ENVIRONMENT_HEADER = "x-ironflow-environment";

/** The environment that the call names. Throws `invalid_argument` if its name is malformed. */
export function environmentOf(input: Pick<CallInput, "header">): string {
  const environment = input.header(ENVIRONMENT_HEADER);
  if (environment === undefined) return DEFAULT_ENVIRONMENT;
  checkEnvironmentName(environment);
  return environment;
}

/**
 * The request with the qualified name of its bucket. Throws `invalid_argument` if the bucket's name is malformed: a client must not name a
 * bucket of another environment. The given request stays as it is, because a list sends it again for its next page.
 */
export function inEnvironment<Request extends MessageShape<DescMessage>>(
  request: Request,
  environment: string,
): Request {
  const field = request.$typeName === CreateBucketRequestSchema.typeName ? "name" : "bucket";
  const bucket: unknown = Reflect.get(request, field);
  if (typeof bucket !== "string") return request;
  const qualified = qualifiedBucketName(bucket, environment);
  if (qualified === bucket) return request;
  const copy = Object.create(
    Object.getPrototypeOf(request) as object,
    Object.getOwnPropertyDescriptors(request),
  ) as Request;
  Reflect.set(copy, field, qualified);
  return copy;
}
