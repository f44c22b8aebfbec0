/** The REST form of ApiKeyService: ProtoJSON with snake_case names, with the exceptions below. */
import { toJson } from "@bufbuild/protobuf";
import { ApiKeySchema, ApiKeyService } from "../../../gen/ironflow/kv/v1/api_key_service_pb.js";
import { emptyAnswer, PROTO_JSON, shapeOf } from "./shape.js";

export const API_KEY_SHAPES = [
  shapeOf(ApiKeyService.method.listApiKeys, {
    list: {
      begin: () => `{"api_keys":[`,
      items: ({ apiKeys }) => apiKeys.map((key) => JSON.stringify(toJson(ApiKeySchema, key, PROTO_JSON))),
      end: (_, nextPageToken) => `],"next_page_token":${JSON.stringify(nextPageToken)}}`,
    },
  }),
  shapeOf(ApiKeyService.method.revokeApiKey, { answer: emptyAnswer }),
];
