/** API keys on real copies of the service that share one NATS server. */
import { jetstreamManager } from "@nats-io/jetstream";
import { copiesTest } from "../support/fixtures.js";
import { connect } from "../support/nats-connection.js";
import { Writable } from "node:stream";
import { pino } from "pino";
import { describe, expect, onTestFinished, vi } from "vitest";
import {
  type ApiKeyScope,
  type Client,
  createClient,
  KvNotFoundError,
  KvPermissionDeniedError,
  type NewApiKey,
} from "@ironflow-kv/client";
import { startService } from "../../src/embed.js";
import { startNatsServer } from "../support/nats-server.js";
import { freshName, startTestService, type TestService } from "../support/service.js";
import { open1 } from "../support/sse-client.js";

const ROOT_KEY = "the-root-key-of-tests";
const REFUSED = "A valid API key is required: send 'Authorization: Bearer <key>'.";

const WAIT = { timeout: 60_000, interval: 20 };

const allow = (text: string): ApiKeyScope => {
  const [accesses = "", buckets = ""] = text.split(":");
  return { accesses: accesses.split(",") as ApiKeyScope["accesses"], buckets };
};

const SETTINGS = { "api-key": ROOT_KEY };
const it = copiesTest(SETTINGS)
  /** Another copy on the same storage. */
  .extend("other", { scope: "file" }, ({ startCopy }) => startCopy(SETTINGS))
  .extend(
    "clientOf",
    ({ service }) =>
      (apiKey: string, at = service): Client =>
        createClient({ serverUrl: at.url, apiKey, retry: false }),
  )
  .extend("root", ({ clientOf }): Client => clientOf(ROOT_KEY))
  .extend("bucket", async ({ root }): Promise<string> => {
    const name = freshName("keys");
    await root.kv().createBucket({ name });
    return name;
  })
  /** Waits until a copy refuses a key. */
  .extend("untilRefused", ({ clientOf }) => async (secret: string, at: TestService): Promise<void> => {
    const call = (): Promise<unknown> => clientOf(secret, at).kv().listBuckets();
    await vi.waitFor(() => expect(call()).rejects.toThrow(REFUSED), WAIT);
  })
  /** Waits until a copy knows a new key. */
  .extend("untilGood", ({ clientOf }) => async (secret: string, at: TestService): Promise<void> => {
    await vi.waitFor(() => clientOf(secret, at).kv().listBuckets(), WAIT);
  });

/** Reads events until the watch fails. */
async function untilEnd(events: AsyncIterator<unknown>): Promise<void> {
  while ((await events.next()).done !== true);
}

describe("a new key", () => {
  it("works at once, in every copy, for what its scopes say", async ({
    root,
    bucket,
    clientOf,
    untilGood,
    other,
  }) => {
    const key = await root.apiKeys().create({ name: "a reader", scopes: [allow(`read:${bucket}`)] });
    expect(key.secret).toMatch(/^ifkey_[0-9a-f]{40}$/);
    expect(key).toMatchObject({ name: "a reader", expiresAt: undefined, rotatedAt: undefined });
    await root.kv().bucket(bucket).put("k", "v");
    expect((await clientOf(key.secret).kv().bucket(bucket).get("k")).text()).toBe("v");
    await expect(clientOf(key.secret).kv().bucket(bucket).put("k", "w")).rejects.toThrow(
      new RegExp(`This API key may not write to the bucket "${bucket}"; it needs the scope write on it\\.`),
    );
    await untilGood(key.secret, other);
  });

  it("is listed and described without its secret", async ({ root }) => {
    const { secret, ...info } = await root.apiKeys().create({
      name: "ünïcode",
      scopes: [allow("read,write:a-*"), allow("watch:*")],
      expiresInSeconds: 3_600,
    });
    expect(await root.apiKeys().get(info.id)).toEqual(info);
    const listed = await root.apiKeys().list();
    expect(listed).toContainEqual(info);
    expect(JSON.stringify(listed)).not.toContain(secret);
    expect(listed.map(({ id }) => id)).toEqual(listed.map(({ id }) => id).sort());
    expect(info.expiresAt?.getTime()).toBe(info.createdAt.getTime() + 3_600_000);
  });

  it("can't allow more than the key that makes it", async ({ root, clientOf }) => {
    const manager = await root.apiKeys().create({
      name: "manager",
      scopes: [allow("admin:*"), allow("read:team-*")],
    });
    const keys = clientOf(manager.secret).apiKeys();
    for (const wider of ["write:team-1", "read:*", "read:team*", "watch:team-1"]) {
      const made = keys.create({ name: "wider", scopes: [allow("read:team-1"), allow(wider)] });
      await expect(made, wider).rejects.toThrow(KvPermissionDeniedError);
    }
    const narrow = await keys.create({ name: "narrow", scopes: [allow("read:team-1*"), allow("admin:a")] });
    await expect(clientOf(narrow.secret).apiKeys().list()).rejects.toThrow(
      "This API key may not manage API keys; it needs the scope admin on *.",
    );
  });

  it.for([
    ["an empty name", "", 0, /1 to 128 bytes/],
    ["a name with a line end", "a\nb", 0, /control characters/],
    ["a name that is too long", "é".repeat(65), 0, /1 to 128 bytes/],
    ["a life of less than a second", "n", 0.5, /1 to /],
    ["a life of more than 100 years", "n", 4e9, /or 0 for a key that never expires/],
  ] as const)("is refused with %s", async ([, name, expiresInSeconds, sentence], { root }) => {
    const made = root.apiKeys().create({ name, scopes: [allow("read:a")], expiresInSeconds });
    await expect(made).rejects.toThrow(sentence);
  });

  it("comes page by page where that is asked for", async ({ root, service }) => {
    const ids = new Set<string>();
    for (let made = 0; made < 3; made++) {
      ids.add((await root.apiKeys().create({ name: "paged", scopes: [allow("read:a")] })).id);
    }
    const headers = { authorization: `Bearer ${ROOT_KEY}` };
    const seen: string[] = [];
    for (let token = "", isFirst = true; isFirst || token !== ""; isFirst = false) {
      const answer = await fetch(`${service.url}/api/v1/api-keys?limit=2&page_token=${token}`, { headers });
      const page = (await answer.json()) as { api_keys: { id: string }[]; next_page_token: string };
      expect(page.api_keys.length).toBeLessThanOrEqual(2);
      seen.push(...page.api_keys.map(({ id }) => id));
      token = page.next_page_token;
    }
    expect(new Set(seen).size).toBe(seen.length);
    for (const id of ids) expect(seen).toContain(id);
    const bad = await fetch(`${service.url}/api/v1/api-keys?page_token=x`, { headers });
    expect(bad.status).toBe(400);
  });
});

describe("a key that is no longer valid", () => {
  it("is refused at once where it was revoked, soon in other copies, and its watches end", async ({
    root,
    bucket,
    untilGood,
    other,
    service,
    clientOf,
    untilRefused,
  }) => {
    const key = await root.apiKeys().create({ name: "n", scopes: [allow(`read,watch:${bucket}`)] });
    await root.kv().bucket(bucket).put("k", "v");
    await untilGood(key.secret, other);
    const watches = [service, other].map((at) => clientOf(key.secret, at).kv().bucket(bucket).watch([]));
    await Promise.all(watches.map((events) => events.next()));
    const ended = watches.map((events) => expect(events.next()).rejects.toThrow(REFUSED));
    await root.apiKeys().revoke(key.id);
    await expect(clientOf(key.secret).kv().bucket(bucket).get("k")).rejects.toThrow(REFUSED);
    await Promise.all(ended);
    await untilRefused(key.secret, other);
    await expect(root.apiKeys().revoke(key.id)).rejects.toThrow(KvNotFoundError);
    await expect(root.apiKeys().get(key.id)).rejects.toThrow(KvNotFoundError);
    await expect(root.apiKeys().rotate(key.id)).rejects.toThrow(KvNotFoundError);
  });

  it("is refused when its time is up, and its watches end", async ({ bucket, root, clientOf }) => {
    const scopes = [allow(`watch:${bucket}`)];
    const key = await root.apiKeys().create({ name: "short", scopes, expiresInSeconds: 2 });
    await expect(untilEnd(clientOf(key.secret).kv().bucket(bucket).watch([]))).rejects.toThrow(REFUSED);
    await expect(clientOf(key.secret).kv().listBuckets()).rejects.toThrow(REFUSED);
    expect((await root.apiKeys().get(key.id)).expiresAt?.getTime()).toBeLessThanOrEqual(Date.now());
  });

  it.for([
    ["none", ""],
    ["one that never was", `ifkey_${"0".repeat(40)}`],
    ["the root key with a character more", `${ROOT_KEY}x`],
    ["a hash", "a".repeat(64)],
  ] as const)("gets the same answer as %s", async ([, secret], { clientOf }) => {
    await expect(clientOf(secret).kv().listBuckets()).rejects.toThrow(REFUSED);
  });

  it.for(["", "x", "0".repeat(16), "../etc", "a".repeat(300), "*", ">"])(
    "is not found by the id %j",
    async (id, { root }) => {
      if (id !== "") await expect(root.apiKeys().get(id)).rejects.toThrow(KvNotFoundError);
      await expect(root.apiKeys().revoke(id)).rejects.toThrow(KvNotFoundError);
      await expect(root.apiKeys().rotate(id)).rejects.toThrow(KvNotFoundError);
    },
  );
});

describe("a rotated key", () => {
  it("has a new secret beside the one before, for the overlap", async ({ root, bucket, clientOf }) => {
    const old = await root.apiKeys().create({ name: "n", scopes: [allow(`watch:${bucket}`)] });
    const next = await root.apiKeys().rotate(old.id, { overlapSeconds: 3_600 });
    expect(next).toMatchObject({ id: old.id, scopes: old.scopes });
    expect(next.secret).not.toBe(old.secret);
    expect(next.previousSecretExpiresAt?.getTime()).toBe((next.rotatedAt?.getTime() ?? 0) + 3_600_000);
    await clientOf(old.secret).kv().listBuckets();
    const last = await root.apiKeys().rotate(old.id, { overlapSeconds: 1 });
    await expect(clientOf(old.secret).kv().listBuckets()).rejects.toThrow(REFUSED);
    await expect(untilEnd(clientOf(next.secret).kv().bucket(bucket).watch([]))).rejects.toThrow(REFUSED);
    await clientOf(last.secret).kv().listBuckets();
    expect((await root.apiKeys().get(old.id)).previousSecretExpiresAt).toBeUndefined();
  });

  it("has only the new secret without an overlap, and watches of the old one end", async ({
    root,
    bucket,
    clientOf,
  }) => {
    const old = await root.apiKeys().create({ name: "n", scopes: [allow(`watch:${bucket}`)] });
    const events = clientOf(old.secret).kv().bucket(bucket).watch([], { marks: true });
    await events.next();
    const next = await root.apiKeys().rotate(old.id);
    await expect(events.next()).rejects.toThrow(REFUSED);
    await expect(clientOf(old.secret).kv().listBuckets()).rejects.toThrow(REFUSED);
    await clientOf(next.secret).kv().listBuckets();
  });

  it("can't be one that allows more than the key that asks: the answer has its secret", async ({
    root,
    clientOf,
  }) => {
    const strong = await root.apiKeys().create({ name: "strong", scopes: [allow("read:*")] });
    const manager = await root.apiKeys().create({ name: "manager", scopes: [allow("admin:*")] });
    const keys = clientOf(manager.secret).apiKeys();
    await expect(keys.rotate(strong.id)).rejects.toThrow(KvPermissionDeniedError);
    await keys.rotate(manager.id);
    const long = root.apiKeys().rotate(strong.id, { overlapSeconds: 31 * 86_400 });
    await expect(long).rejects.toThrow(/must be at most 2592000/);
  });

  it("ends with one secret when two copies rotate it at once", async ({ root, service, other, clientOf }) => {
    const key = await root.apiKeys().create({ name: "n", scopes: [allow("read:*")] });
    const rotated = await Promise.all(
      [service, other].map((at) => clientOf(ROOT_KEY, at).apiKeys().rotate(key.id)),
    );
    const isGood = (secret: string): Promise<boolean> =>
      clientOf(secret)
        .kv()
        .listBuckets()
        .then(
          () => true,
          () => false,
        );
    const good = async (): Promise<number> =>
      (await Promise.all(rotated.map(({ secret }) => isGood(secret)))).filter(Boolean).length;
    await vi.waitFor(async () => expect(await good()).toBe(1), WAIT);
  });
});

describe("a list of buckets", () => {
  it("shows only those that the key has a scope on, in full pages", async ({ root, clientOf, service }) => {
    const prefix = freshName("list");
    for (const name of ["a1", "b1", "a2", "b2", "a3"]) {
      await root.kv().createBucket({ name: `${prefix}-${name}` });
    }
    const { secret } = await root.apiKeys().create({ name: "n", scopes: [allow(`write:${prefix}-a*`)] });
    const listed = await clientOf(secret).kv().listBuckets();
    expect(listed.map(({ name }) => name)).toEqual(["a1", "a2", "a3"].map((name) => `${prefix}-${name}`));
    const headers = { authorization: `Bearer ${secret}` };
    const page = await fetch(`${service.url}/api/v1/kv/buckets?limit=2`, { headers });
    expect(await page.json()).toMatchObject({ count: 2, next_page_token: expect.any(String) as string });
    await clientOf(secret).kv().getBucketInfo(`${prefix}-a1`);
    await expect(clientOf(secret).kv().getBucketInfo(`${prefix}-b1`)).rejects.toThrow(
      new RegExp(`This API key has no scope on the bucket "${prefix}-b1"`),
    );
  });
});

describe("a service without IRONFLOW_API_KEY", () => {
  it("needs no key until the first one is made, and one ever after", async ({ clientOf }) => {
    const open = await startTestService();
    onTestFinished(() => open.remove());
    const anyone = clientOf("", open);
    await anyone.kv().createBucket({ name: "b" });
    const events = anyone.kv().bucket("b").watch([], { marks: true });
    await events.next();
    await expect(anyone.apiKeys().create({ name: "n", scopes: [allow("read:*")] })).rejects.toThrow(
      /The first key must have admin on \*/,
    );
    await anyone.kv().listBuckets();
    const first = await anyone.apiKeys().create({ name: "n", scopes: [allow("read,admin:*")] });
    await expect(anyone.kv().listBuckets()).rejects.toThrow(REFUSED);
    await expect(events.next()).rejects.toThrow(REFUSED);
    const owner = clientOf(first.secret, open);
    expect(await owner.kv().listBuckets()).toHaveLength(1);
    await owner.apiKeys().revoke(first.id);
    await expect(anyone.kv().listBuckets()).rejects.toThrow(REFUSED);
    await expect(owner.kv().listBuckets()).rejects.toThrow(REFUSED);
    await open.stop();
    const again = await startTestService({ "data-dir": open.dataDir });
    onTestFinished(() => again.stop());
    await expect(clientOf("", again).kv().listBuckets()).rejects.toThrow(REFUSED);
  });

  it("keeps its keys over restarts of itself, and follows them over restarts of the storage", async ({
    clientOf,
    untilGood,
    untilRefused,
  }) => {
    const server = await startNatsServer();
    onTestFinished(() => server.remove());
    const settings = { "nats-url": server.url };
    const [one, two] = await Promise.all([startTestService(settings), startTestService(settings)]);
    onTestFinished(async () => {
      await Promise.all([one.remove(), two.remove()]);
    });
    const first = await clientOf("", one)
      .apiKeys()
      .create({ name: "n", scopes: [allow("read,admin:*")] });
    await server.stop();
    await server.start();
    const create = (): Promise<NewApiKey> =>
      clientOf(first.secret, one)
        .apiKeys()
        .create({ name: "n", scopes: [allow("read:*")] });
    const second = await vi.waitFor(create, WAIT);
    await untilGood(second.secret, two);
    await clientOf(first.secret, two).apiKeys().revoke(second.id);
    await untilRefused(second.secret, one);
  });
});

describe("the service's own buckets", () => {
  it("can't be reached by any name", async ({ root, bucket }) => {
    await root.apiKeys().createWatchTicket(bucket);
    for (const name of ["SYS_api_keys", "api_keys", "KV_SYS_api_keys", "SYS_watch_tickets"]) {
      const own = root.kv().bucket(name);
      await expect(root.kv().getBucketInfo(name)).rejects.toThrow(KvNotFoundError);
      await expect(own.get("k")).rejects.toThrow(KvNotFoundError);
      await expect(own.put("k", "v")).rejects.toThrow(KvNotFoundError);
      await expect(own.watch().next()).rejects.toThrow(KvNotFoundError);
      await expect(root.kv().deleteBucket(name)).rejects.toThrow(KvNotFoundError);
    }
    expect((await root.kv().listBuckets()).map(({ name }) => name)).not.toContain("SYS_api_keys");
  });
});

describe("secrets", () => {
  it("are in no log, metric, error or stored value", async ({ bucket, server }) => {
    const lines: string[] = [];
    const sink = new Writable({
      write(chunk: Buffer, _encoding, done) {
        lines.push(chunk.toString());
        done();
      },
    });
    const seen = await startService({
      settings: { port: "0", "nats-url": server.url, "api-key": ROOT_KEY },
      logger: pino({ level: "trace" }, sink),
    });
    onTestFinished(() => seen.stop());
    const owner = createClient({ serverUrl: seen.url, apiKey: ROOT_KEY, retry: false });
    const scopes = [allow(`read,watch:${bucket}`)];
    const made = await owner.apiKeys().create({ name: "n", scopes });
    const rotated = await owner.apiKeys().rotate(made.id, { overlapSeconds: 60 });
    const guest = createClient({ serverUrl: seen.url, apiKey: rotated.secret, retry: false });
    const { ticket } = await guest.apiKeys().createWatchTicket(bucket);
    const path = `/api/v1/kv/buckets/${bucket}/watch?ticket=${ticket}`;
    (await open1(seen.url, path)).leave();
    const failures = [await open1(seen.url, path), await open1(seen.url, `${path}&nonsense=1`)];
    for (const { body } of failures) for await (const chunk of body) lines.push(String(chunk));
    lines.push(
      String(
        await guest
          .kv()
          .bucket(bucket)
          .put("k", "v")
          .catch((error: unknown) => error),
      ),
    );
    lines.push(
      String(
        await owner
          .apiKeys()
          .get(ROOT_KEY)
          .catch((error: unknown) => error),
      ),
    );
    const headers = { authorization: `Bearer ${ROOT_KEY}` };
    lines.push(await (await fetch(`${seen.url}/metrics`, { headers })).text());
    lines.push(
      await storedText(server.url, "KV_SYS_api_keys"),
      await storedText(server.url, "KV_SYS_watch_tickets"),
    );
    await seen.stop();
    const everything = lines.join("\n");
    expect(everything).toContain(made.id);
    for (const secret of [ROOT_KEY, made.secret, rotated.secret, ticket]) {
      expect(everything).not.toContain(secret);
    }
  });
});

/** What a stream holds, as text. */
async function storedText(url: string, stream: string): Promise<string> {
  const connection = await connect({ servers: url });
  try {
    const manager = await jetstreamManager(connection);
    const { state } = await manager.streams.info(stream);
    let text = "";
    for (let seq = state.first_seq; seq <= state.last_seq; seq++) {
      const message = await manager.streams.getMessage(stream, { seq }).catch(() => null);
      if (message !== null) text += `${message.subject} ${message.string()}\n`;
    }
    return text;
  } finally {
    await connection.close();
  }
}
