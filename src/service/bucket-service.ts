/** The handlers of BucketService. Each checks the request, calls the store and converts the result. */
import { create } from "@bufbuild/protobuf";
import {
  type BucketService,
  CompactBucketResponseSchema,
  CreateBucketResponseSchema,
  DeleteBucketResponseSchema,
  GetBucketResponseSchema,
  ListBucketsResponseSchema,
  ListEnvironmentsResponseSchema,
  UpdateBucketResponseSchema,
  type UpdateBucketRequest,
} from "../../gen/ironflow/kv/v1/bucket_service_pb.js";
import { KvError } from "../kv/errors.js";
import { DEFAULT_ENVIRONMENT, quote, splitBucketName } from "../kv/names.js";
import type { BucketChange } from "../kv/bucket.js";
import type { Store } from "../kv/store.js";
import { ANONYMOUS, type Principal, FIRST_KEY } from "./principal.js";
import type { Handlers } from "./calls.js";
import { ReadMask } from "./read-mask.js";
import { bucketMessage, millisecondsOf, safeNumber } from "./convert.js";

/** The ID that a bucket counts towards (BUCKETS_PER_API_KEY_MAX); undefined for IRONFLOW_API_KEY and anonymous callers, which have no limit. */
function quotaId({ id }: Principal): string | undefined {
  return id === FIRST_KEY || id === ANONYMOUS ? undefined : id;
}

export function bucketHandlers(store: Store): Handlers<typeof BucketService> {
  return {
    async createBucket(request, context) {
      const info = await store.createBucket(
        {
          name: request.name,
          description: request.description,
          ttlMs: millisecondsOf(request.ttl, "ttl"),
          maxValueSize: request.maxValueSize,
          maxBytes: safeNumber(request.maxBytes, "max_bytes"),
          history: request.history === 0 ? 1 : request.history,
        },
        context,
        quotaId(context.caller),
      );
      return create(CreateBucketResponseSchema, { bucket: bucketMessage(info) });
    },

    async getBucket(request, context) {
      const mask = new ReadMask(request.readMask);
      const info = await store.getBucket(request.bucket, context, mask.has("values"));
      return create(GetBucketResponseSchema, { bucket: mask.apply(bucketMessage(info)) });
    },

    async listBuckets(request, context) {
      const { caller } = context;
      const mask = new ReadMask(request.readMask);
      const page = { limit: request.limit, pageToken: request.pageToken };
      const isVisible = (bucket: string): boolean =>
        splitBucketName(bucket).environment === context.environment && caller.sees(bucket);
      const buckets = await store.listBuckets(page, context, isVisible, mask.has("values"));
      return create(ListBucketsResponseSchema, {
        buckets: buckets.items.map((info) => mask.apply(bucketMessage(info))),
        nextPageToken: buckets.nextPageToken,
      });
    },

    async updateBucket(request, context) {
      const info = await store.updateBucket(request.bucket, changeOf(request), context);
      return create(UpdateBucketResponseSchema, { bucket: bucketMessage(info) });
    },

    async deleteBucket(request, context) {
      await store.deleteBucket(request.bucket, context);
      return create(DeleteBucketResponseSchema);
    },

    async compactBucket(request, context) {
      const { removed } = await store.compactBucket(request.bucket, context);
      return create(CompactBucketResponseSchema, { removed: BigInt(removed) });
    },

    async listEnvironments(_, context) {
      const environments = new Set([DEFAULT_ENVIRONMENT]);
      for (const bucket of await store.bucketNames(context)) {
        if (context.caller.sees(bucket)) environments.add(splitBucketName(bucket).environment);
      }
      return create(ListEnvironmentsResponseSchema, { environments: [...environments].sort() });
    },
  };
}

/** The fields of the mask, or all set fields if there is no mask. A masked field that is unset gets its default. */
function changeOf(request: UpdateBucketRequest): BucketChange {
  const set: Required<BucketChange> = {
    description: request.description,
    ttlMs: millisecondsOf(request.ttl, "ttl"),
    maxValueSize: request.maxValueSize,
    maxBytes: request.maxBytes === undefined ? undefined : safeNumber(request.maxBytes, "max_bytes"),
    history: request.history,
  };
  const paths = request.updateMask?.paths ?? [];
  if (paths.length === 0) return set;
  const masked: { -readonly [Field in keyof BucketChange]: BucketChange[Field] } = {};
  for (const path of paths) {
    switch (path) {
      case "description":
        masked.description = set.description ?? "";
        break;
      case "ttl":
        masked.ttlMs = set.ttlMs ?? 0;
        break;
      case "max_value_size":
        masked.maxValueSize = set.maxValueSize ?? 0;
        break;
      case "max_bytes":
        masked.maxBytes = set.maxBytes ?? 0;
        break;
      case "history":
        masked.history = set.history ?? 1;
        break;
      default:
        throw new KvError(
          "invalid_update_mask",
          `update_mask has ${quote(path)}; the allowed fields are description, ttl, max_value_size, max_bytes and history.`,
          { bucket: request.bucket },
        );
    }
  }
  return masked;
}
