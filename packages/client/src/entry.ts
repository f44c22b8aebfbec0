/** One revision of a key, as the SDK returns it. */
import {
  type Entry as EntryMessage,
  Operation as OperationEnum,
} from "../../../gen/ironflow/kv/v1/types_pb.js";
import { dateOf } from "./convert.js";
import { base64Of, jsonRevision } from "./json.js";

/** What a write did to a key. `expire`: its own TTL or the bucket's ttl removed the value. */
export type Operation = "put" | "delete" | "purge" | "expire";

const OPERATION: Readonly<Record<OperationEnum, Operation>> = {
  // A later contract may add operations; treat an unknown one as a write.
  [OperationEnum.UNSPECIFIED]: "put",
  [OperationEnum.PUT]: "put",
  [OperationEnum.DELETE]: "delete",
  [OperationEnum.PURGE]: "purge",
  [OperationEnum.EXPIRE]: "expire",
};

/** One revision of a key. */
export class Entry {
  readonly key: string;
  /** The bytes. Empty for deletes, purges and expiries, and with `keysOnly`. */
  readonly value: Uint8Array;
  /** Grows with each write to the bucket; unique within it. */
  readonly revision: bigint;
  /** When this revision was written, by the storage's clock. */
  readonly createdAt: Date;
  readonly operation: Operation;
  /** The media type stored with the value; empty when there is none. */
  readonly contentType: string;
  /** When the value expires by its own TTL, by the storage's clock; the bucket's `ttlSeconds` may end it earlier. Undefined: never. */
  readonly expiresAt: Date | undefined;
  /** The text stored with the value. */
  readonly metadata: Readonly<Record<string, string>>;

  constructor(message: EntryMessage) {
    this.key = message.key;
    this.value = message.value;
    this.revision = message.revision;
    this.createdAt = dateOf(message.createdAt);
    this.operation = OPERATION[message.operation];
    this.contentType = message.contentType;
    this.expiresAt = message.expiresAt && dateOf(message.expiresAt);
    this.metadata = message.metadata;
  }

  /** For JSON.stringify: the properties, with the value in base64, the revision as a number, and times in ISO 8601. */
  toJSON(): Record<string, unknown> {
    const { key, value, revision, createdAt, operation, contentType, expiresAt, metadata } = this;
    return {
      ...{ key, value: base64Of(value), revision: jsonRevision(revision), createdAt, operation },
      ...{ contentType, expiresAt, metadata },
    };
  }

  /** The value as text. Bytes that are not UTF-8 become U+FFFD. */
  text(): string {
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(this.value);
  }

  /** The value parsed as JSON. `T` is not checked. Throws SyntaxError if the value is not JSON. */
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- saves every caller a cast
  json<T = unknown>(): T {
    try {
      return JSON.parse(new TextDecoder().decode(this.value)) as T;
    } catch (error) {
      throw new SyntaxError(`The value of the key ${JSON.stringify(this.key)} is not JSON.`, {
        cause: error,
      });
    }
  }
}
