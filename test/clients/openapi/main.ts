// Calls the service with the types that openapi-typescript generates from web/openapi.json, and openapi-fetch.
import createClient from "openapi-fetch";
import type { paths } from "./api.js";

const [, , baseUrl = "", key = "", bucket = ""] = process.argv;
const client = createClient<paths>({ baseUrl, headers: { authorization: `Bearer ${key}` } });
const KEY = "/api/v1/kv/buckets/{bucket}/keys/{key}";
const params = { path: { bucket, key: "a/b" } };

const created = await client.POST("/api/v1/kv/buckets", { body: { name: bucket } });
console.log("created", created.data?.name);

const bytes = { bodySerializer: (body: unknown) => String(body), headers: { "content-type": "text/plain" } };
const put = await client.PUT(KEY, { params, body: "Ann", ...bytes });
console.log("revision", put.data?.revision);

// With `raw` or `Accept`, the answer is the value itself.
const { data } = await client.GET(KEY, { params });
console.log("value", typeof data === "object" ? atob(data.value) : data);

const ifMatch = { ...params, header: { "If-Match": "7" } };
const refused = await client.PUT(KEY, { params: ifMatch, body: "x", ...bytes });
console.log("refused", refused.response.status, refused.error?.code);

const list = await client.GET("/api/v1/kv/buckets/{bucket}/keys", { params: { path: { bucket } } });
console.log("keys", list.data?.keys);

const deleted = await client.DELETE(KEY, { params });
console.log("deleted", deleted.response.status);
