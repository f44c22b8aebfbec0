/** Configs: named JSON objects, in a system bucket of each environment. */
import { invalidArgument, KvError } from "../kv/errors.js";
import type { Limits } from "../kv/limits.js";
import { quote } from "../kv/names.js";
import { jsonBytes, PageRoom } from "../kv/page-room.js";
import type { SerialQueue } from "../kv/serial-queue.js";
import { pageLimit, readPageToken, writePageToken } from "../kv/page-token.js";
import type { BucketConfig } from "../kv/bucket.js";
import type { CallContext } from "../kv/call-context.js";
import type { Condition } from "../kv/writes.js";
import type { Entry } from "../kv/entry.js";
import type { Page, PageRequest } from "../kv/reads.js";
import type { BucketFamily, SystemBucket } from "../kv/store.js";
import type { Watch } from "../kv/watch.js";

/** Opens one of the service's system buckets. */
export type OpenSystemBucket = (config: BucketConfig, family?: BucketFamily) => SystemBucket;

/** What the names of the system buckets begin with. */
const PREFIX = "config_";
const NAME_BYTES_MAX = 512;
// eslint-disable-next-line no-control-regex
const NOT_IN_A_NAME = /[\u0000-\u001f\u007f-\u009f*>]/;
/** JSON bytes of a listed config besides its name. */
const CONFIG_FRAME_BYTES = 128;
const LISTING = "configs";
const decoder = new TextDecoder("utf-8", { fatal: true });

/** The configs of one environment. */
export class Configs {
  private readonly bucket: SystemBucket;

  constructor(
    open: OpenSystemBucket,
    private readonly environment: string,
    private readonly limits: Limits,
    /** Of all calls: creations that run at once must not exceed the limit. */
    private readonly creations: SerialQueue,
  ) {
    const config = { name: PREFIX + environment, description: `Configs of ${environment}, by name` };
    this.bucket = open(config, {
      ...{ prefix: PREFIX, bucketsMax: limits.configEnvironmentsMax },
      sentence: (count) =>
        `There are ${count} environments with configs, which is the maximum; use one of them, or increase CONFIG_ENVIRONMENTS_MAX.`,
    });
  }

  /** Writes a JSON object; returns its revision. Throws `key_exists`, `revision_mismatch`, `value_too_large`, `storage_exhausted`. */
  async set(name: string, data: string, condition: Condition, context: CallContext): Promise<bigint> {
    checkName(name);
    parseObject(data);
    return this.put(name, data, condition, context);
  }

  /** Throws `key_not_found`. */
  async get(name: string, context: CallContext): Promise<Entry> {
    checkName(name);
    return this.bucket.get(name, context).catch((error: unknown) => {
      throw translated(error, name);
    });
  }

  /** Replaces members; returns the revision. Throws `key_not_found`, and what `set` throws. */
  async patch(
    name: string,
    data: string,
    ifRevision: bigint | undefined,
    context: CallContext,
  ): Promise<bigint> {
    checkName(name);
    const members = parseObject(data);
    for (;;) {
      const current = await this.get(name, context);
      if (ifRevision !== undefined && current.revision !== ifRevision) throw mismatch(name, current.revision);
      const merged = JSON.stringify({ ...parseObject(dataOf(current)), ...members });
      try {
        return await this.put(name, merged, { ifRevision: current.revision }, context);
      } catch (error) {
        if (ifRevision !== undefined || !isKind(error, "revision_mismatch")) throw error;
      }
    }
  }

  /** Succeeds if the config does not exist. Throws `revision_mismatch`. */
  async delete(name: string, ifRevision: bigint | undefined, context: CallContext): Promise<void> {
    checkName(name);
    try {
      await this.bucket.remove(name, ifRevision === undefined ? "always" : { ifRevision }, context);
    } catch (error) {
      if (isKind(error, "bucket_not_found") && ifRevision === undefined) return;
      if (isKind(error, "bucket_not_found")) throw mismatch(name, 0n);
      throw translated(error, name);
    }
  }

  /** Entries without values. */
  async list(page: PageRequest, context: CallContext): Promise<Page<Entry>> {
    const room = new PageRoom(pageLimit(page.limit, this.limits.configsMax), this.limits.pageBytesMax);
    const token = readPageToken(page.pageToken, LISTING);
    const all = await this.names(context);
    const items: Entry[] = [];
    for (const entry of all.sort(byName)) {
      if (token !== undefined && compare(entry.key, token.after) <= 0) continue;
      if (!room.take(CONFIG_FRAME_BYTES + jsonBytes(entry.key)))
        return { items, nextPageToken: writePageToken(LISTING, items.at(-1)?.key ?? "") };
      items.push(entry);
    }
    return { items, nextPageToken: "" };
  }

  /** Emits the present state, if there is one, then changes. */
  async watch(name: string, context: CallContext): Promise<Watch> {
    checkName(name);
    await this.bucket.ensure(context);
    return this.bucket.watch(context, { filters: [name] });
  }

  private async put(name: string, data: string, condition: Condition, context: CallContext): Promise<bigint> {
    // Line ends are white space in JSON. The frames of SSE can't contain them.
    const value = Buffer.from(data.replaceAll(/[\r\n]+/g, " "));
    const { configBytesMax, configsMax } = this.limits;
    if (value.length > configBytesMax) {
      throw new KvError(
        "value_too_large",
        `The config has ${value.length} bytes; it may have at most ${configBytesMax}.`,
        { key: name },
      );
    }
    const write = (): Promise<bigint> => this.write(name, value, condition, context);
    if (typeof condition === "object" || (await this.exists(name, context))) return write();
    return this.creations.run(this.environment, async () => {
      const names = await this.names(context);
      if (names.length >= configsMax && !names.some(({ key }) => key === name)) {
        throw new KvError(
          "storage_exhausted",
          `There are ${names.length} configs in this environment, which is the maximum; delete unused ones.`,
        );
      }
      return write();
    });
  }

  private async write(
    name: string,
    value: Uint8Array,
    condition: Condition,
    context: CallContext,
  ): Promise<bigint> {
    try {
      return await this.bucket.put(name, value, condition, context);
    } catch (error) {
      if (!isKind(error, "bucket_not_found")) throw translated(error, name);
      if (typeof condition === "object") throw mismatch(name, 0n);
    }
    await this.bucket.ensure(context);
    return this.bucket.put(name, value, condition, context).catch((error: unknown) => {
      throw translated(error, name);
    });
  }

  private async exists(name: string, context: CallContext): Promise<boolean> {
    try {
      await this.bucket.get(name, context);
      return true;
    } catch (error) {
      if (isKind(error, "key_not_found") || isKind(error, "bucket_not_found")) return false;
      throw error;
    }
  }

  /** Every config, without values. */
  private async names(context: CallContext): Promise<Entry[]> {
    const entries: Entry[] = [];
    try {
      for await (const event of await this.bucket.watch(context, { keysOnly: true })) {
        if (event.type === "change") entries.push(event.entry);
        else if (event.type === "snapshot_end") break;
      }
    } catch (error) {
      if (!isKind(error, "bucket_not_found")) throw error;
    }
    return entries;
  }
}

/** The JSON text of a config. */
export function dataOf({ value }: Entry): string {
  return decoder.decode(value);
}

function checkName(name: string): void {
  const bytes = Buffer.byteLength(name);
  if (bytes > 0 && bytes <= NAME_BYTES_MAX && !NOT_IN_A_NAME.test(name) && name.isWellFormed()) return;
  throw invalidArgument(
    `The config's name ${quote(name)} is malformed; it must be 1 to ${NAME_BYTES_MAX} bytes of UTF-8 without control characters, * and >.`,
  );
}

function parseObject(data: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    throw invalidArgument("The data of the config is not JSON; it must be a JSON object.");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw invalidArgument("The data of the config is JSON, but not an object; it must be a JSON object.");
  return value as Record<string, unknown>;
}

function isKind(error: unknown, kind: KvError["kind"]): boolean {
  return error instanceof KvError && error.kind === kind;
}

/** The errors of the system bucket, in terms of configs. */
function translated(error: unknown, name: string): unknown {
  if (!(error instanceof KvError)) return error;
  switch (error.kind) {
    case "bucket_not_found":
    case "key_not_found":
      return new KvError("key_not_found", `There is no config ${quote(name)}.`, { key: name });
    case "key_exists":
      return new KvError("key_exists", `The config ${quote(name)} exists.`, {
        key: name,
        revision: error.revision,
      });
    case "revision_mismatch":
      return mismatch(name, error.revision ?? 0n);
    default:
      return error;
  }
}

function mismatch(name: string, revision: bigint): KvError {
  const found = revision === 0n ? "does not exist" : `is at revision ${revision}`;
  return new KvError("revision_mismatch", `The config ${quote(name)} ${found}, which is not the given one.`, {
    ...{ key: name, revision },
  });
}

const compare = (one: string, other: string): number => Buffer.compare(Buffer.from(one), Buffer.from(other));
const byName = (one: Entry, other: Entry): number => compare(one.key, other.key);
