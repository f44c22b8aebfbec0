/** The fields of a bucket that a request wants (AIP-157). */
import { clearField } from "@bufbuild/protobuf";
import type { FieldMask } from "@bufbuild/protobuf/wkt";
import { type Bucket, BucketSchema } from "../../gen/ironflow/kv/v1/types_pb.js";
import { invalidArgument } from "../kv/errors.js";
import { quote } from "../kv/names.js";

const NAMES: ReadonlySet<string> = new Set(BucketSchema.fields.map(({ name }) => name));

export class ReadMask {
  /** Undefined: every field. */
  private readonly paths: ReadonlySet<string> | undefined;

  /** Throws `invalid_argument` if the mask names an unknown field. */
  constructor(mask: FieldMask | undefined) {
    const paths = mask?.paths ?? [];
    for (const path of paths) {
      if (path === "*" || NAMES.has(path)) continue;
      throw invalidArgument(
        `read_mask has ${quote(path)}; the fields of a bucket are ${[...NAMES].join(", ")}, or * for all.`,
      );
    }
    this.paths = paths.length === 0 || paths.includes("*") ? undefined : new Set(paths);
  }

  has(path: string): boolean {
    return this.paths?.has(path) ?? true;
  }

  /** The bucket with only the fields of the mask. */
  apply(bucket: Bucket): Bucket {
    for (const field of BucketSchema.fields) if (!this.has(field.name)) clearField(bucket, field);
    return bucket;
  }
}
