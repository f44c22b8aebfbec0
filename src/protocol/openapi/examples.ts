/** Example requests and responses of the operations. test/protocol/openapi.test.ts sends them to a service. */
import type { Json } from "./schemas.js";

export interface Example {
  /** The JSON of the body; for values, their text. */
  readonly request?: unknown;
  readonly response?: unknown;
}

/** By path parameter. */
export const KEY_EXAMPLES: Readonly<Record<string, string>> = {
  bucket: "orders",
  key: "customer.17",
  id: "nmyj2cqk3bhm",
  name: "app",
};

const VALUE = '{"name":"Ann"}';
const VALUE_BASE64 = Buffer.from(VALUE).toString("base64");
const CREATED_AT = "2026-11-29T08:00:00.000Z";
const BUCKET: Json = {
  name: "orders",
  description: "Orders of the shop",
  values: 1,
  bytes: 128,
  history: 5,
  created_at: CREATED_AT,
};
const ENTRY: Json = {
  key: "customer.17",
  value: VALUE_BASE64,
  revision: 7,
  created_at: CREATED_AT,
  operation: "put",
};
const CONFIG_DATA: Json = { theme: "dark", limits: { items: 10 } };
const API_KEY: Json = {
  id: "nmyj2cqk3bhm",
  name: "shop",
  scopes: [{ accesses: ["ACCESS_READ", "ACCESS_WRITE"], buckets: "orders" }],
  created_at: CREATED_AT,
};
const SECRET = "ikv_nmyj2cqk3bhm_example";

/** By the method's full name. */
export const EXAMPLES: Readonly<Record<string, Example>> = {
  "ironflow.kv.v1.BucketService.CreateBucket": {
    request: { name: "orders", description: "Orders of the shop", history: 5 },
    response: { ...BUCKET, values: 0, bytes: 0 },
  },
  "ironflow.kv.v1.BucketService.GetBucket": { response: BUCKET },
  "ironflow.kv.v1.BucketService.ListBuckets": { response: { buckets: [BUCKET], count: 1 } },
  "ironflow.kv.v1.BucketService.UpdateBucket": {
    request: { description: "Orders of the shop, 2026" },
    response: { ...BUCKET, description: "Orders of the shop, 2026" },
  },
  "ironflow.kv.v1.BucketService.CompactBucket": { response: { removed: 0 } },
  "ironflow.kv.v1.BucketService.ListEnvironments": { response: [{ id: "default", name: "default" }] },
  "ironflow.kv.v1.KeyValueService.Put": { request: VALUE, response: { revision: 7 } },
  "ironflow.kv.v1.KeyValueService.Get": { response: ENTRY },
  "ironflow.kv.v1.KeyValueService.Touch": { response: { revision: 8 } },
  "ironflow.kv.v1.KeyValueService.ListKeys": { response: { keys: ["customer.17"], count: 1 } },
  "ironflow.kv.v1.KeyValueService.DeleteKeys": {
    request: { filters: ["customer.*"] },
    response: { deleted: 1, skipped: 0, revision: 10 },
  },
  "ironflow.kv.v1.KeyValueService.GetHistory": {
    response: {
      key: "customer.17",
      entries: [
        {
          revision: 7,
          operation: "put",
          value: VALUE_BASE64,
          created_at: CREATED_AT,
          content_type: "application/octet-stream",
        },
      ],
      count: 1,
    },
  },
  "ironflow.kv.v1.KeyValueService.Commit": {
    request: {
      operations: [
        { check: { key: "customer.18", absent: true } },
        { put: { key: "customer.18", value: VALUE_BASE64 } },
      ],
    },
    response: { revision: 9, revisions: [0, 9] },
  },
  "ironflow.kv.v1.ConfigService.SetConfig": { request: CONFIG_DATA, response: { name: "app", revision: 3 } },
  "ironflow.kv.v1.ConfigService.GetConfig": {
    response: { name: "app", data: CONFIG_DATA, revision: 3, updatedAt: CREATED_AT },
  },
  "ironflow.kv.v1.ConfigService.PatchConfig": {
    request: { theme: "light" },
    response: { name: "app", revision: 4 },
  },
  "ironflow.kv.v1.ConfigService.ListConfigs": {
    response: { configs: [{ name: "app", revision: 3, updatedAt: CREATED_AT }] },
  },
  "ironflow.kv.v1.KeyValueService.BatchGet": {
    request: { keys: ["customer.17", "customer.99"] },
    response: {
      results: [
        { key: "customer.17", entry: { ...ENTRY, content_type: "application/octet-stream" } },
        { key: "customer.99", entry: null },
      ],
      revision: 9,
    },
  },
  "ironflow.kv.v1.KeyValueService.Scan": {
    response: [
      JSON.stringify({ ...ENTRY, content_type: "application/octet-stream" }),
      JSON.stringify({ end: true, complete: true, revision: 9 }),
      "",
    ].join("\n"),
  },
  "ironflow.kv.v1.KeyValueService.Watch": {
    response: `id: 7\ndata: ${JSON.stringify({
      type: "kv_update",
      key: "customer.17",
      value: VALUE_BASE64,
      revision: 7,
      operation: "put",
      bucket: "orders",
    })}\n\n`,
  },
  "ironflow.kv.v1.ApiKeyService.CreateApiKey": {
    request: { name: "shop", scopes: API_KEY.scopes, expires_in: "86400s" },
    response: { api_key: { ...API_KEY, expires_at: "2026-11-30T08:00:00Z" }, secret: SECRET },
  },
  "ironflow.kv.v1.ApiKeyService.ListApiKeys": { response: { api_keys: [API_KEY], next_page_token: "" } },
  "ironflow.kv.v1.ApiKeyService.GetApiKey": { response: { api_key: API_KEY } },
  "ironflow.kv.v1.ApiKeyService.RotateApiKey": {
    request: { overlap: "3600s" },
    response: {
      api_key: {
        ...API_KEY,
        expires_at: "2026-11-30T08:00:00Z",
        rotated_at: CREATED_AT,
        previous_secret_expires_at: "2026-11-29T09:00:00Z",
      },
      secret: SECRET,
    },
  },
  "ironflow.kv.v1.ApiKeyService.CreateWatchTicket": {
    request: { bucket: "orders" },
    response: { ticket: "9f3a2c", expires_at: CREATED_AT },
  },
};
