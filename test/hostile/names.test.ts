/** Names that are made to escape: from their bucket, their token, their URL, or the memory set aside for them. On every door. */
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { describe, expect } from "vitest";
import { BucketService } from "../../gen/ironflow/kv/v1/bucket_service_pb.js";
import { KeyValueService } from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { ALL_DOORS } from "../api/doors.js";
import { serviceTest } from "../support/fixtures.js";
import { send1, send2 } from "../support/http-client.js";
import { freshName } from "../support/service.js";
import { refusedUpgrade } from "../support/watch-client.js";
import { IS_EXTENDED } from "../support/extended.js";

const LONG = "x".repeat(10_240);
/** Keys that are allowed, whatever they look like, and mean themselves alone. */
const ODD_KEYS = [
  "../../etc/passwd",
  "a/../b",
  "%2F",
  "%00",
  "%2e%2e%2f",
  "*",
  ">",
  "a.*",
  "a.>",
  "$SYS.REQ",
  "$JS.API.STREAM.DELETE.KV_APP_x",
  "_INBOX.x",
  "a..b",
  ".a.",
  "a b",
  "a?b#c",
  "a\\b",
  "=41",
  "\u{1f511}",
  "\u202eevil",
  "__proto__",
  "constructor",
];
const FORBIDDEN_KEYS = ["", "a\nb", "a\r\nb", "a\0b", "\x7f", LONG];
const FORBIDDEN_BUCKETS = [
  "",
  "..",
  "../b",
  "a/b",
  "a%2Fb",
  "a%00b",
  "*",
  ">",
  "a.b",
  "a b",
  "a\nb",
  "a\0b",
  "$SYS",
  "APP_x",
  "SYS_api_keys",
  "KV_APP_x.>",
  "bücket",
  LONG,
];
const FORBIDDEN_FILTERS = ["a.>.b", ">.a", "a\nb", "a\0b", LONG];

/** What a client may be blamed for. Anything else would be a fault of ours. */
const CLIENT_FAULTS = [Code.InvalidArgument, Code.NotFound, Code.PermissionDenied, Code.ResourceExhausted];

const it = serviceTest();

async function expectRefused(name: string, calls: readonly (() => Promise<unknown>)[]): Promise<void> {
  for (const call of calls) {
    const code = await call().then(
      () => undefined,
      (error: unknown) => ConnectError.from(error).code,
    );
    expect(CLIENT_FAULTS, JSON.stringify(name).slice(0, 40)).toContain(code);
  }
}

/** One of each wire form; all in the extended run. */
const DOORS = ALL_DOORS.filter(
  ({ name }) =>
    IS_EXTENDED ||
    /^(gRPC proto, HTTP\/2|gRPC-Web JSON, HTTP\/1.1|Connect JSON, HTTP\/2|Connect GET|REST, watch over SSE)/.test(
      name,
    ),
);

describe.each(DOORS.map((door) => [door.name, door] as const))("%s", (_name, door) => {
  let transport: Transport;
  let bucket: string;
  const keys = () => createClient(KeyValueService, transport);
  const buckets = () => createClient(BucketService, transport);
  it.beforeAll(async ({ service }) => {
    transport = door.connect(service.url);
    bucket = freshName();
    await buckets().createBucket({ name: bucket });
    await keys().put({ bucket, key: "canary", value: Buffer.from("alive") });
  });

  it("takes odd keys for what they are, and touches no other", async () => {
    // URL parsers take these out of a path, as docs/rest.md says.
    const odd = ODD_KEYS.filter((key) => door.isWholeContract || !key.includes(".."));
    for (const key of odd) await keys().put({ bucket, key, value: Buffer.from(key) });
    for (const key of odd) {
      const { entry } = await keys().get({ bucket, key });
      expect([entry?.key, Buffer.from(entry?.value ?? []).toString()]).toEqual([key, key]);
    }
    expect((await keys().listKeys({ bucket })).keys).toEqual([...odd, "canary"].sort(byBytes));
    for (const key of odd) await keys().delete({ bucket, key });
    expect((await keys().listKeys({ bucket })).keys).toEqual(["canary"]);
  });

  it("refuses keys that can't be", async () => {
    for (const key of FORBIDDEN_KEYS) {
      await expectRefused(key, [
        () => keys().get({ bucket, key }),
        () => keys().put({ bucket, key, value: new Uint8Array() }),
        () => keys().delete({ bucket, key }),
      ]);
    }
  });

  it("refuses buckets that can't be", async () => {
    for (const name of FORBIDDEN_BUCKETS) {
      await expectRefused(name, [() => buckets().createBucket({ name })]);
      // There is no path with an empty name, and URL parsers take dots out.
      if (!door.isWholeContract && ["", "..", "../b"].includes(name)) continue;
      await expectRefused(name, [
        () => buckets().getBucket({ bucket: name }),
        () => buckets().deleteBucket({ bucket: name }),
        () => keys().get({ bucket: name, key: "k" }),
        () => keys().put({ bucket: name, key: "k", value: new Uint8Array() }),
        () => keys().listKeys({ bucket: name }),
      ]);
    }
    expect((await buckets().getBucket({ bucket })).bucket?.name).toBe(bucket);
  });

  it("refuses filters and tokens that can't be", async () => {
    for (const filter of FORBIDDEN_FILTERS) {
      await expectRefused(filter, [() => keys().listKeys({ bucket, filters: [filter] })]);
    }
    for (const pageToken of ["x", "\0", LONG, "e30", "W10", "bnVsbA"]) {
      await expectRefused(pageToken, [() => keys().listKeys({ bucket, pageToken })]);
    }
  });
});

describe("a path over REST", () => {
  it.for([
    "/api/v1/kv/buckets/../../../etc/passwd",
    "/api/v1/kv/buckets/%2e%2e/keys/k",
    "/api/v1/kv/buckets/a%2Fb/keys/k",
    "/api/v1/kv/buckets/a%00b/keys/k",
    "/api/v1/kv/buckets/*/keys/*",
    "/api/v1/kv/buckets/%3E/keys/k",
    "/api/v1/kv/buckets/a%0Ab/keys/k",
    "/api/v1/kv/buckets/b/keys/",
    "/api/v1/kv/buckets/b/keys/%00",
    "/api/v1/kv/buckets/b/keys/%",
    "/api/v1/kv/buckets/b/keys/%zz",
    "/api/v1/kv/buckets/b/keys/%C0%AF",
    "/api/v1/kv/buckets/b/keys/%F8%80%80%80%80",
    `/api/v1/kv/buckets/b/keys/${LONG}`,
    `/api/v1/kv/buckets/${LONG}`,
    `/api/v1/kv/buckets/b/keys?filter=${LONG}`,
    `/api/v1/kv/buckets/b/keys?${"filter=a&".repeat(1_000)}`,
    "/api/v1/kv/buckets/b/keys?limit=1e9&limit=-1",
    "/api//v1/kv/buckets",
    "/api/v1/kv/buckets/b/keys/k?revision=99999999999999999999",
    "//api/v1/kv/buckets",
    "/api/v1/kv/buckets/b/watch",
    "/..",
    "/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "/docs.js%00",
    "/docs.js/../../package.json",
    "/assets/../index.html",
  ])("%s is the client's fault", async (path, { service }) => {
    for (const send of [send1, send2]) {
      for (const method of ["GET", "PUT", "DELETE", "POST", "PROPFIND"]) {
        const { status } = await send(service.url, method, path);
        expect(status, `${method} ${send.name}`).toBeGreaterThanOrEqual(400);
        expect(status, `${method} ${send.name}`).toBeLessThan(500 + Number(method === "PROPFIND") * 2);
      }
    }
    // A watch is asked for by upgrade as well.
    const [status] = await refusedUpgrade(service.url, path);
    expect(status).toBeGreaterThanOrEqual(400);
    expect(status).toBeLessThan(500);
  });
});

function byBytes(one: string, other: string): number {
  return Buffer.compare(Buffer.from(one), Buffer.from(other));
}
