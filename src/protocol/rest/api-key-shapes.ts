/** The REST form of ApiKeyService: proto JSON with snake_case names, but for what is here. */
import { ApiKeyService } from "../../../gen/ironflow/kv/v1/api_key_service_pb.js";
import { emptyAnswer, shapeOf } from "./shape.js";

export const API_KEY_SHAPES = [
  shapeOf(ApiKeyService.method.listApiKeys, {
    appendPage: (first, page) => first.apiKeys.push(...page.apiKeys),
  }),
  shapeOf(ApiKeyService.method.revokeApiKey, { answer: emptyAnswer }),
];
