/** The REST form of BucketService. Existing SDKs depend on this JSON: never change a name. */
import { create } from "@bufbuild/protobuf";
import { type Duration, DurationSchema } from "@bufbuild/protobuf/wkt";
import { BucketService } from "../../../gen/ironflow/kv/v1/bucket_service_pb.js";
import type { Bucket } from "../../../gen/ironflow/kv/v1/types_pb.js";
import { idempotencyWindowHeaders } from "./errors.js";
import { readCount, readMembers, readSeconds, readText } from "./json-fields.js";
import { type JsonShape, writeJson, writeTime } from "./json.js";
import { type Answer, emptyAnswer, endWithCount, jsonAnswer, shapeOf } from "./shape.js";

const UINT32_MAX = 2 ** 32 - 1;

/** Members that a create and an update both accept. */
const SETTINGS = {
  description: readText,
  ttl_seconds: readSeconds,
  max_value_size: readCount(UINT32_MAX),
  max_bytes: readCount(Number.MAX_SAFE_INTEGER),
  history: readCount(UINT32_MAX),
};

export const BUCKET_SHAPES = [
  shapeOf(BucketService.method.createBucket, {
    readBody(body, request) {
      const members = readMembers(body, { name: readText, ...SETTINGS }, true);
      request.name = members.name ?? "";
      request.description = members.description ?? "";
      if (members.ttl_seconds !== undefined) request.ttl = durationOf(members.ttl_seconds);
      request.maxValueSize = members.max_value_size ?? 0;
      request.maxBytes = BigInt(members.max_bytes ?? 0);
      request.history = members.history ?? 0;
    },
    answer: ({ bucket }, _, path) =>
      jsonAnswer(201, writeJson(bucketJson(bucket)), {
        location: `${path}/${encodeURIComponent(bucket?.name ?? "")}`,
        ...idempotencyWindowHeaders(bucket?.idempotencyWindow),
      }),
  }),

  shapeOf(BucketService.method.getBucket, {
    answer: ({ bucket }, { request }) => bucketAnswer(bucket, request.readMask?.paths),
  }),

  shapeOf(BucketService.method.listBuckets, {
    list: {
      begin: () => `{"buckets":[`,
      items: ({ buckets }, _, { request }) =>
        buckets.map((bucket) => writeJson(bucketJson(bucket, request.readMask?.paths))),
      end: endWithCount,
    },
  }),

  shapeOf(BucketService.method.updateBucket, {
    readBody(body, request) {
      const members = readMembers(body, SETTINGS, false);
      if (members.description !== undefined) request.description = members.description;
      if (members.ttl_seconds !== undefined) request.ttl = durationOf(members.ttl_seconds);
      if (members.max_value_size !== undefined) request.maxValueSize = members.max_value_size;
      if (members.max_bytes !== undefined) request.maxBytes = BigInt(members.max_bytes);
      if (members.history !== undefined) request.history = members.history;
    },
    answer: ({ bucket }) => bucketAnswer(bucket),
  }),

  shapeOf(BucketService.method.deleteBucket, { answer: emptyAnswer }),

  shapeOf(BucketService.method.compactBucket, {
    answer: ({ removed }) => jsonAnswer(200, writeJson({ removed })),
  }),

  shapeOf(BucketService.method.listEnvironments, {
    answer: ({ environments }) =>
      jsonAnswer(200, JSON.stringify(environments.map((name) => ({ id: name, name })))),
  }),
];

/** The JSON of a bucket is fixed: newer fields go into headers. */
function bucketAnswer(bucket: Bucket | undefined, mask?: readonly string[]): Answer {
  const headers = idempotencyWindowHeaders(bucket?.idempotencyWindow);
  return jsonAnswer(200, writeJson(bucketJson(bucket, mask)), headers);
}

/** A bucket without its unset fields. `mask`: the fields to include, by their names in the contract. Default: all. */
function bucketJson(bucket: Bucket | undefined, mask: readonly string[] = []): JsonShape {
  if (bucket === undefined) return {};
  const json = membersOf(bucket);
  if (mask.length === 0 || mask.includes("*")) return json;
  const isWanted = (name: string): boolean => mask.includes(name === "ttl_seconds" ? "ttl" : name);
  return Object.fromEntries(Object.entries(json).filter(([name]) => isWanted(name)));
}

function membersOf(bucket: Bucket): Readonly<Record<string, JsonShape | undefined>> {
  return {
    name: bucket.name,
    description: bucket.description === "" ? undefined : bucket.description,
    ttl_seconds: bucket.ttl && secondsOf(bucket.ttl),
    max_value_size: bucket.maxValueSize === 0 ? undefined : bucket.maxValueSize,
    max_bytes: bucket.maxBytes === 0n ? undefined : bucket.maxBytes,
    values: bucket.values,
    bytes: bucket.bytes,
    history: bucket.history,
    created_at: bucket.createdAt && writeTime(bucket.createdAt),
  };
}

/** In whole seconds, rounded up. */
function secondsOf(duration: Duration): number {
  return Number(duration.seconds) + (duration.nanos > 0 ? 1 : 0);
}

function durationOf(milliseconds: number): Duration {
  return create(DurationSchema, {
    seconds: BigInt(Math.floor(milliseconds / 1_000)),
    nanos: (milliseconds % 1_000) * 1_000_000,
  });
}
