/** The REST form of Commit. */
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { CommitRequestSchema, KeyValueService } from "../../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { badRequest } from "./errors.js";
import { idempotencyKeyOf } from "./headers.js";
import { writeJson } from "./json.js";
import { jsonAnswer, shapeOf } from "./shape.js";

export const COMMIT_SHAPE = shapeOf(KeyValueService.method.commit, {
  readHeaders({ headers, request }) {
    request.idempotencyKey = idempotencyKeyOf(headers["idempotency-key"]);
  },
  readBody(body, request) {
    let message: typeof request;
    try {
      message = fromJson(CommitRequestSchema, body as JsonValue);
    } catch (error) {
      const problem = error instanceof Error ? error.message : "it does not fit";
      throw badRequest(`The body is malformed: ${problem}.`);
    }
    const { operations, ifBucketCreatedAt, idempotencyKey } = message;
    request.operations = operations;
    if (ifBucketCreatedAt !== undefined) request.ifBucketCreatedAt = ifBucketCreatedAt;
    if (idempotencyKey === "") return;
    if (request.idempotencyKey !== "" && request.idempotencyKey !== idempotencyKey) {
      throw badRequest("Idempotency-Key and idempotency_key differ; send only one of them.");
    }
    request.idempotencyKey = idempotencyKey;
  },
  answer: ({ revision, revisions }) => jsonAnswer(200, writeJson({ revision, revisions })),
});
