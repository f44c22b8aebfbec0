/** A commit of the SDK: checks, puts and deletes of several keys, applied together or not at all. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type CommitRequest_OperationSchema,
  KeyValueService,
} from "../../../gen/ironflow/kv/v1/key_value_service_pb.js";
import type { PreconditionSchema } from "../../../gen/ironflow/kv/v1/types_pb.js";
import { type PutOptions, WRITE_OPTIONS, type WriteOptions } from "./bucket-options.js";
import { type Revision, revisionOf, wellFormed } from "./convert.js";
import { withJson } from "./json.js";
import { checkOptions, type OptionNames } from "./options.js";
import type { RpcClient } from "./rpc-client.js";
import { type Storable, valueFields } from "./value.js";

/** The options of a put within a commit. Set at most one condition. */
export interface AtomicPutOptions extends Pick<PutOptions, "contentType" | "ttlSeconds" | "metadata"> {
  /** Require that this is the key's newest revision. */
  readonly ifRevision?: Revision | undefined;
  /** Require that the key has no value. Default: false. */
  readonly ifAbsent?: boolean | undefined;
}

export interface AtomicDeleteOptions {
  /** Require that this is the key's newest revision. */
  readonly ifRevision?: Revision | undefined;
}

/** The result of a commit. */
export interface CommitResult {
  /** The revision of the commit's last write; of a commit of checks alone, the bucket's revision at which they held. */
  readonly revision: bigint;
  /** The revision of each operation, in the order in which they were added; 0n for a check. */
  readonly revisions: readonly bigint[];
}

const ATOMIC_PUT_OPTIONS: OptionNames<AtomicPutOptions> = {
  ...{ contentType: true, ttlSeconds: true, metadata: true, ifRevision: true, ifAbsent: true },
};
const ATOMIC_DELETE_OPTIONS: OptionNames<AtomicDeleteOptions> = { ifRevision: true };

type Operation = MessageInitShape<typeof CommitRequest_OperationSchema>;

/**
 * Collects 1 to 500 operations, then applies all of them, or none: `await bucket.atomic().check("a", 7n).put("b", 1).delete("c").commit()`.
 * The conditions describe the bucket before the commit. A key may be written once and checked once.
 *
 * Each method but `commit` sends nothing and returns this object. It throws TypeError and KvInvalidArgumentError for malformed arguments.
 */
export class AtomicOperation {
  private readonly operations: Operation[] = [];

  constructor(
    private readonly rpc: RpcClient,
    private readonly bucket: string,
  ) {}

  /** Requires that `revision` is the key's newest revision, without writing the key. */
  check(key: string, revision: Revision): this {
    return this.checked(key, { case: "revision", value: revisionOf(revision, "revision") });
  }

  /** Requires that the key has no value, without writing it. */
  checkAbsent(key: string): this {
    return this.checked(key, { case: "absent", value: true });
  }

  /** Requires that no key which matches the filter was written, deleted or expired after `revision` of the bucket. */
  checkUnchanged(filter: string, revision: Revision): this {
    const condition = { case: "unchangedSince" as const, value: revisionOf(revision, "revision") };
    return this.with({
      operation: { case: "check", value: { filter: wellFormed(filter, "The filter"), condition } },
    });
  }

  /** Writes a value, stored as by `Bucket.put`. */
  put(key: string, value: Storable, options: AtomicPutOptions = {}): this {
    checkOptions(options, ATOMIC_PUT_OPTIONS, "put");
    const precondition = preconditionOf(options);
    return this.with({
      operation: {
        case: "put",
        value: {
          key: wellFormed(key, "The key"),
          ...valueFields(value, options),
          ...(precondition === undefined ? {} : { precondition }),
        },
      },
    });
  }

  /** Deletes a key; its earlier revisions stay in the history. Writes a tombstone even if the key has no value. */
  delete(key: string, options: AtomicDeleteOptions = {}): this {
    return this.deleted(key, false, options, "delete");
  }

  /** Like `delete`, but also removes the history. */
  purge(key: string, options: AtomicDeleteOptions = {}): this {
    return this.deleted(key, true, options, "purge");
  }

  /**
   * Applies the operations. Throws KvConflictError or KvKeyExistsError if a condition does not hold: `operationIndex` is the first such
   * operation, `key` its key, `revision` the key's current revision. Nothing was written then. Throws KvOutOfRangeError if a filter's check
   * can't be decided any more, KvResourceExhaustedError, KvError (`commit_unsupported`) on an old storage, and the errors of every write. Retries are safe.
   */
  async commit(options: WriteOptions = {}): Promise<CommitResult> {
    checkOptions(options, WRITE_OPTIONS, "commit");
    const request = {
      bucket: this.bucket,
      operations: this.operations,
      idempotencyKey: options.idempotencyKey ?? this.rpc.newIdempotencyKey(),
    };
    const { revision, revisions } = await this.rpc.unary(KeyValueService.method.commit, request, options);
    this.rpc.recordRevision(this.bucket, revision);
    return withJson({ revision, revisions });
  }

  private checked(
    key: string,
    condition: { case: "revision"; value: bigint } | { case: "absent"; value: boolean },
  ): this {
    return this.with({ operation: { case: "check", value: { key: wellFormed(key, "The key"), condition } } });
  }

  private deleted(key: string, purge: boolean, options: AtomicDeleteOptions, method: string): this {
    checkOptions(options, ATOMIC_DELETE_OPTIONS, method);
    const { ifRevision } = options;
    return this.with({
      operation: {
        case: "delete",
        value: {
          key: wellFormed(key, "The key"),
          purge,
          ifRevision: ifRevision === undefined ? 0n : revisionOf(ifRevision, "ifRevision"),
        },
      },
    });
  }

  private with(operation: Operation): this {
    this.operations.push(operation);
    return this;
  }
}

function preconditionOf({
  ifRevision,
  ifAbsent = false,
}: AtomicPutOptions): MessageInitShape<typeof PreconditionSchema> | undefined {
  if (ifAbsent && ifRevision !== undefined)
    throw new TypeError("ifAbsent and ifRevision are both set; a put takes one condition.");
  if (ifAbsent) return { condition: { case: "ifAbsent", value: true } };
  if (ifRevision === undefined) return undefined;
  return { condition: { case: "ifRevision", value: revisionOf(ifRevision, "ifRevision") } };
}
