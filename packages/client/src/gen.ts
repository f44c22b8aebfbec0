/** `@ironflow-kv/client/gen`: the generated messages and services. */
export * from "../../../gen/ironflow/kv/v1/types_pb.js";
export * from "../../../gen/ironflow/kv/v1/bucket_service_pb.js";
export * from "../../../gen/ironflow/kv/v1/key_value_service_pb.js";
export * from "../../../gen/ironflow/kv/v1/api_key_service_pb.js";
export * from "../../../gen/ironflow/kv/v1/backup_service_pb.js";
export * from "../../../gen/ironflow/kv/v1/status_service_pb.js";
export * from "../../../gen/ironflow/kv/backup/v1/backup_pb.js";
