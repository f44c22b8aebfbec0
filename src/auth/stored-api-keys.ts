/** `ApiKeys` on a system bucket. */
import { invalidArgument, KvError } from "../kv/errors.js";
import { DEFAULT_LIMITS, type Limits } from "../kv/limits.js";
import { quote } from "../kv/names.js";
import { jsonBytes, PageRoom } from "../kv/page-room.js";
import { pageLimit, readPageToken, writePageToken } from "../kv/page-token.js";
import type { CallContext } from "../kv/call-context.js";
import type { Page, PageRequest } from "../kv/reads.js";
import type { SystemBucket } from "../kv/store.js";
import {
  ANONYMOUS,
  type ApiKeyInfo,
  type ApiKeys,
  type ApiKeySpec,
  type Principal,
  type NewSecret,
} from "../service/principal.js";
import type { KeyFollower } from "./key-follower.js";
import { decodeRecord, encodeRecord, infoOf, type KeyRecord } from "./key-record.js";
import type { KeyRing } from "./key-ring.js";
import { checkScopes, covers } from "./scopes.js";
import { hashOf, isKeyId, newKeyId, newKeySecret } from "./secrets.js";
import type { WatchTickets } from "./watch-tickets.js";

export interface StoredApiKeysOptions {
  readonly bucket: SystemBucket;
  readonly ring: KeyRing;
  readonly follower: KeyFollower;
  readonly tickets: WatchTickets;
  readonly limits: Limits;
}

const LISTING = "api-keys";
/** JSON bytes of an API key besides its name and scopes, and of a scope besides its glob and accesses. */
const API_KEY_FRAME_BYTES = 512;
const SCOPE_FRAME_BYTES = 40;
const ACCESS_BYTES = 16;

function apiKeyJsonBytes({ name, scopes }: ApiKeyInfo): number {
  let bytes = API_KEY_FRAME_BYTES + jsonBytes(name);
  for (const { accesses, buckets } of scopes)
    bytes += SCOPE_FRAME_BYTES + jsonBytes(buckets) + accesses.length * ACCESS_BYTES;
  return bytes;
}

// eslint-disable-next-line no-control-regex
const CONTROL_CHARACTER = /[\u0000-\u001f\u007f-\u009f]/;

export class StoredApiKeys implements ApiKeys {
  constructor(private readonly options: StoredApiKeysOptions) {}

  async create(spec: ApiKeySpec, caller: Principal, context: CallContext): Promise<NewSecret> {
    const { ring, limits, bucket } = this.options;
    checkName(spec.name);
    checkScopes(spec.scopes);
    checkLifetime(spec.lifetimeMs);
    checkCovered(spec.scopes, caller);
    if (caller.id === ANONYMOUS && !spec.scopes.some(isKeyManager)) {
      throw invalidArgument(
        "The first key must have admin on *: every call needs a key once it exists, and no other key could create more.",
      );
    }
    if (ring.size >= limits.apiKeysMax) {
      throw new KvError(
        "storage_exhausted",
        `There are ${limits.apiKeysMax} API keys, which is the maximum; revoke unused ones.`,
      );
    }
    const nowMs = Date.now();
    const secret = newKeySecret();
    const record: KeyRecord = {
      id: newKeyId(),
      name: spec.name,
      scopes: spec.scopes.map(({ accesses, buckets }) => ({ accesses: [...new Set(accesses)], buckets })),
      createdAtMs: nowMs,
      expiresAtMs: spec.lifetimeMs === 0 ? undefined : nowMs + spec.lifetimeMs,
      rotatedAtMs: undefined,
      previousExpiresAtMs: undefined,
      hash: hashOf(secret),
      previousHash: undefined,
    };
    await this.untilApplied(await bucket.put(record.id, encodeRecord(record), "if_absent", context), context);
    return { key: infoOf(record), secret };
  }

  get(id: string): ApiKeyInfo {
    const record = this.options.ring.get(id);
    if (record === undefined) throw notFound(id);
    return infoOf(record);
  }

  list(page: PageRequest): Page<ApiKeyInfo> {
    const { ring, limits } = this.options;
    const room = new PageRoom(pageLimit(page.limit, limits.apiKeysPageMax), limits.pageBytesMax);
    const token = readPageToken(page.pageToken, LISTING);
    const items: ApiKeyInfo[] = [];
    for (const record of ring.all()) {
      if (token !== undefined && record.id <= token.after) continue;
      const info = infoOf(record);
      if (!room.take(apiKeyJsonBytes(info)))
        return { items, nextPageToken: writePageToken(LISTING, items.at(-1)?.id ?? "") };
      items.push(info);
    }
    return { items, nextPageToken: "" };
  }

  async revoke(id: string, context: CallContext): Promise<void> {
    if (!isKeyId(id)) throw notFound(id);
    const revision = await this.options.bucket.remove(id, "always", context);
    if (revision === 0n) throw notFound(id);
    await this.untilApplied(revision, context);
  }

  async rotate(id: string, overlapMs: number, caller: Principal, context: CallContext): Promise<NewSecret> {
    const most = DEFAULT_LIMITS.apiKeyOverlapMsMax;
    if (overlapMs > most) {
      throw invalidArgument(
        `The overlap is ${overlapMs / 1_000} seconds; it must be at most ${most / 1_000}.`,
      );
    }
    for (;;) {
      const { record, revision } = await this.read(id, context);
      checkCovered(record.scopes, caller);
      const nowMs = Date.now();
      const secret = newKeySecret();
      const rotated: KeyRecord = {
        ...record,
        hash: hashOf(secret),
        rotatedAtMs: nowMs,
        previousHash: overlapMs === 0 ? undefined : record.hash,
        previousExpiresAtMs: overlapMs === 0 ? undefined : nowMs + overlapMs,
      };
      try {
        const condition = { ifRevision: revision };
        await this.untilApplied(
          await this.options.bucket.put(id, encodeRecord(rotated), condition, context),
          context,
        );
        return { key: infoOf(rotated), secret };
      } catch (error) {
        // The key was rotated or revoked concurrently: read it again.
        if (!(error instanceof KvError) || error.kind !== "revision_mismatch") throw error;
      }
    }
  }

  createTicket(
    bucket: string,
    caller: Principal,
    context: CallContext,
  ): Promise<{ readonly ticket: string; readonly expiresAtMs: number }> {
    return this.options.tickets.create(bucket, caller, context);
  }

  /** Reads the stored key, bypassing the key ring. */
  private async read(id: string, context: CallContext): Promise<{ record: KeyRecord; revision: bigint }> {
    if (!isKeyId(id)) throw notFound(id);
    try {
      const { value, revision } = await this.options.bucket.get(id, context);
      return { record: decodeRecord(id, value), revision };
    } catch (error) {
      throw error instanceof KvError && error.kind === "key_not_found" ? notFound(id) : error;
    }
  }

  /** Waits until the change is in effect in this process. */
  private untilApplied(revision: bigint, context: CallContext): Promise<void> {
    return this.options.follower.reached(revision, context.deadlineMs);
  }
}

function isKeyManager({ accesses, buckets }: ApiKeyInfo["scopes"][number]): boolean {
  return (buckets === "*" || buckets === "*/*") && accesses.includes("admin");
}

function checkName(name: string): void {
  const bytes = Buffer.byteLength(name);
  const most = DEFAULT_LIMITS.apiKeyNameBytesMax;
  if (bytes === 0 || bytes > most || CONTROL_CHARACTER.test(name) || !name.isWellFormed()) {
    throw invalidArgument(
      `The key's name ${quote(name)} is malformed; a name is 1 to ${most} bytes of UTF-8 without control characters.`,
    );
  }
}

function checkLifetime(lifetimeMs: number): void {
  const { ttlMsMin, ttlMsMax } = DEFAULT_LIMITS;
  if (lifetimeMs === 0 || (lifetimeMs >= ttlMsMin && lifetimeMs <= ttlMsMax)) return;
  throw invalidArgument(
    `The lifetime of the key is ${lifetimeMs / 1_000} seconds; it must be ${ttlMsMin / 1_000} to ${ttlMsMax / 1_000}, or 0 for a key that never expires.`,
  );
}

/** Prevents privilege escalation: a caller must not create, or get the secret of, a key with more permissions than its own. */
function checkCovered(scopes: ApiKeyInfo["scopes"], caller: Principal): void {
  if (covers(caller.scopes, scopes)) return;
  throw new KvError(
    "permission_denied",
    "The key would allow more than your own; request only scopes that your key has.",
  );
}

/** Omits a malformed ID from the message: it may be a secret that was passed by mistake. */
function notFound(id: string): KvError {
  const shown = isKeyId(id) ? `with the ID ${id}` : "with this ID";
  return new KvError("api_key_not_found", `There is no API key ${shown}.`);
}
