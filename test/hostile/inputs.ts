/**
 * Inputs for the fuzzer: whole connections, each as the bytes that a client writes. Real requests of every door, mutated a little or a
 * lot, and noise. Everything follows from the seed, so that a case can be run again.
 */
import { gzipSync } from "node:zlib";
import {
  END_HEADERS,
  END_STREAM,
  Frame,
  frame,
  headerBlock,
  PREFACE,
  setting,
  uint32,
} from "../../packages/http2/test/raw-session.js";
import type { Random } from "../../packages/http2/test/fuzz/random.js";

/** A request of one door, as bytes on a connection of its own. */
export interface Input {
  readonly door: string;
  readonly bytes: Buffer;
}

const GET = "/ironflow.kv.v1.KeyValueService/Get";
const PUT = "/ironflow.kv.v1.KeyValueService/Put";
const LIST = "/ironflow.kv.v1.KeyValueService/ListKeys";
const WATCH = "/ironflow.kv.v1.KeyValueService/Watch";
const BUCKET = "/api/v1/kv/buckets/fuzz";

/** `{bucket: "fuzz", key: "k"}`, as protobuf and as JSON. */
const MESSAGE = Buffer.from("\x0a\x04fuzz\x12\x01k");
const JSON_MESSAGE = Buffer.from('{"bucket":"fuzz","key":"k"}');

/** A message as gRPC, gRPC-Web and streams of Connect frame it. */
function envelope(message: Uint8Array, flags = 0): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flags, 0);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

interface Call {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

function call(path: string, contentType: string, body: Buffer, headers: Call["headers"] = {}): Call {
  return { method: "POST", path, headers: { "content-type": contentType, ...headers }, body };
}

function rest(method: string, path: string, body = "", headers: Call["headers"] = {}): Call {
  return { method, path: BUCKET + path, headers, body: Buffer.from(body) };
}

const gzipped = { "grpc-encoding": "gzip" };
const CALLS: Readonly<Record<string, readonly Call[]>> = {
  grpc: [
    call(GET, "application/grpc", envelope(MESSAGE)),
    call(PUT, "application/grpc+proto", envelope(Buffer.concat([MESSAGE, Buffer.from("\x1a\x03abc")]))),
    call(LIST, "application/grpc+json", envelope(Buffer.from('{"bucket":"fuzz","filters":["a.*"]}'))),
    call(GET, "application/grpc", envelope(gzipSync(MESSAGE), 1), gzipped),
    call(WATCH, "application/grpc", envelope(MESSAGE), { "grpc-timeout": "5m" }),
  ],
  "grpc-web": [
    call(GET, "application/grpc-web+proto", envelope(MESSAGE)),
    call(GET, "application/grpc-web-text", Buffer.from(envelope(MESSAGE).toString("base64"))),
    call(
      PUT,
      "application/grpc-web+json",
      envelope(Buffer.from('{"bucket":"fuzz","key":"k","value":"QQ=="}')),
    ),
    call(GET, "application/grpc-web", envelope(gzipSync(MESSAGE), 1), gzipped),
  ],
  connect: [
    call(GET, "application/proto", MESSAGE),
    call(GET, "application/json", JSON_MESSAGE),
    call(
      PUT,
      "application/json",
      Buffer.from('{"bucket":"fuzz","key":"k","value":"QQ==","precondition":{}}'),
    ),
    call(GET, "application/proto", gzipSync(MESSAGE), { "content-encoding": "gzip" }),
    call(WATCH, "application/connect+json", envelope(JSON_MESSAGE), { "connect-timeout-ms": "5" }),
    {
      method: "GET",
      path: `${GET}?connect=v1&encoding=json&base64=1&message=${JSON_MESSAGE.toString("base64url")}`,
      headers: {},
      body: Buffer.alloc(0),
    },
  ],
  rest: [
    rest("PUT", "/keys/k", "value", { "content-type": "text/plain", "if-none-match": "*" }),
    rest("GET", "/keys/k?raw=true", "", { "if-none-match": '"1"' }),
    rest("GET", "/keys?filter=a.*&limit=5&page_token=eyJhIjoxfQ"),
    rest("DELETE", "/keys/a%2Fb?purge=true", "", { "if-match": '"7"' }),
    rest("PATCH", "", '{"description":"d","ttl_seconds":60}', { "content-type": "application/json" }),
    rest("GET", "/watch?initial=false&progress=1s", "", {
      accept: "text/event-stream",
      "last-event-id": "3",
    }),
    rest("GET", "/history/k"),
  ],
};

function http1(method: string, path: string, headers: Call["headers"], body: Buffer): Buffer {
  const length = body.length > 0 ? { "content-length": String(body.length) } : {};
  const lines = Object.entries({ host: "127.0.0.1", ...headers, ...length }).map(
    ([name, value]) => `${name}: ${value}`,
  );
  return Buffer.concat([Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`), body]);
}

function chunked(method: string, path: string, headers: Call["headers"], body: Buffer): Buffer {
  const head = http1(method, path, { ...headers, "transfer-encoding": "chunked" }, Buffer.alloc(0));
  const chunk = body.length === 0 ? "" : `${body.length.toString(16)};x=y\r\n${body.toString("latin1")}\r\n`;
  return Buffer.concat([head, Buffer.from(`${chunk}0\r\n\r\n`, "latin1")]);
}

/** The frames of a session with one call, one after the other. */
function http2Frames({ method, path, headers, body }: Call, random: Random): Buffer[] {
  const block = headerBlock({
    ":method": method,
    ":scheme": "http",
    ":authority": "127.0.0.1",
    ":path": path,
    ...headers,
  });
  const cut = random.below(block.length);
  const data = random.below(body.length + 1);
  return [
    frame(
      Frame.SETTINGS,
      0,
      0,
      // The size of a window, which may have any value, or something else, which may not.
      random.chance(0.9) ? setting(4, random.below(70_000)) : setting(random.below(8), random.below(70_000)),
    ),
    ...(random.chance(0.8)
      ? [frame(Frame.HEADERS, END_HEADERS, 1, block)]
      : [
          frame(Frame.HEADERS, 0, 1, block.subarray(0, cut)),
          frame(Frame.CONTINUATION, END_HEADERS, 1, block.subarray(cut)),
        ]),
    frame(Frame.DATA, 0, 1, body.subarray(0, data)),
    frame(Frame.DATA, END_STREAM, 1, body.subarray(data)),
    ...(random.chance(0.2) ? [frame(Frame.RST_STREAM, 0, 1, uint32(random.below(14)))] : []),
    ...(random.chance(0.2) ? [frame(Frame.PING, 0, 0, Buffer.alloc(8))] : []),
    ...(random.chance(0.2)
      ? [frame(Frame.WINDOW_UPDATE, 0, random.below(3), uint32(random.below(2 ** 31)))]
      : []),
  ];
}

const UPGRADE = {
  upgrade: "websocket",
  connection: "Upgrade",
  "sec-websocket-version": "13",
  "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
};

function webSocketFrame(random: Random): Buffer {
  const payload = random.bytes(random.below(130));
  const [first, mask] = [
    random.pick([0x81, 0x82, 0x80, 0x01, 0x00, 0x88, 0x89, 0x8a, random.below(256)]),
    random.bytes(4),
  ];
  const length = payload.length < 126 ? [0x80 | payload.length] : [0xfe, 0, payload.length];
  return Buffer.concat([
    Buffer.from([first, ...length]),
    mask,
    payload.map((byte, at) => byte ^ (mask[at % 4] ?? 0)),
  ]);
}

/** What may follow a request on its connection. */
const FOLLOWERS = [
  http1("GET", "/healthz", {}, Buffer.alloc(0)),
  http1("GET", `${BUCKET}/watch`, { accept: "text/event-stream" }, Buffer.alloc(0)),
  http1("GET", `${BUCKET}/watch`, UPGRADE, Buffer.alloc(0)),
  http1("POST", WATCH, { "content-type": "application/connect+json" }, envelope(JSON_MESSAGE)),
  http1("POST", GET, { "content-type": "application/json", expect: "100-continue" }, JSON_MESSAGE),
];

/** Makes the next input: a door, a request of it, and what is done to its bytes. */
export function makeInput(random: Random): Input {
  const kind = random.pick([
    "http1",
    "http1",
    "http2",
    "http2",
    "http2-frames",
    "websocket",
    "noise",
  ] as const);
  if (kind === "noise") {
    const start = random.pick(["", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\n", "\x16\x03\x01"]);
    return {
      door: "noise",
      bytes: Buffer.concat([Buffer.from(start, "latin1"), random.bytes(random.below(400))]),
    };
  }
  if (kind === "websocket") {
    const head = http1("GET", `${BUCKET}/watch?key=a`, UPGRADE, Buffer.alloc(0));
    const frames = Array.from({ length: random.below(5) }, () => webSocketFrame(random));
    // Mostly the frames alone: a broken handshake is one of HTTP/1.1.
    const bytes = random.chance(0.3)
      ? mutate(Buffer.concat([head, ...frames]), random)
      : Buffer.concat([head, mutate(Buffer.concat(frames), random)]);
    return { door: "websocket", bytes };
  }
  const door = random.pick(Object.keys(CALLS));
  const request = mutateCall(random.pick(CALLS[door] ?? []), random);
  const { method, path, headers, body } = request;
  if (kind === "http1") {
    const write = random.chance(0.7) ? http1 : chunked;
    const bytes = write(method, path, headers, body);
    // Sometimes others right behind it.
    const more = Array.from({ length: random.chance(0.3) ? 1 + random.below(3) : 0 }, () =>
      random.pick(FOLLOWERS),
    );
    const all = Buffer.concat([bytes, ...more]);
    return { door: `${door} over HTTP/1.1`, bytes: maybeMutate(all, random) };
  }
  const frames = http2Frames(request, random);
  if (kind === "http2-frames") shuffleSome(frames, random);
  const session = Buffer.concat(frames);
  return { door: `${door} over HTTP/2`, bytes: Buffer.concat([PREFACE, maybeMutate(session, random)]) };
}

/** Changes parts of a call that no byte of its frames would show: the body, a header, the path. */
function mutateCall(request: Call, random: Random): Call {
  if (random.chance(0.4)) return request;
  const { headers, path, body } = request;
  switch (random.below(3)) {
    case 0:
      return { ...request, body: mutate(body, random) };
    case 1: {
      const name = random.pick([
        ...Object.keys(headers),
        "origin",
        "expect",
        "te",
        "authorization",
        "grpc-timeout",
        "accept",
      ]);
      return { ...request, headers: { ...headers, [name]: random.pick(ODD_VALUES) } };
    }
    default:
      return { ...request, path: path + random.pick(ODD_PATHS) };
  }
}

const ODD_VALUES = [
  "",
  "\x7f",
  "gzip",
  "99999999H",
  "-1",
  "*",
  "a".repeat(5_000),
  "http://[",
  "Bearer \xff",
  "100-continue",
  "%",
  '"',
];
const ODD_PATHS = [
  "/..",
  "%2e%2e",
  "%00",
  "%",
  "?",
  "?a=%zz",
  "#x",
  "//",
  "\\",
  "*",
  ">",
  "%F0%9F",
  "x".repeat(3_000),
  "?limit=1e9",
];

function maybeMutate(bytes: Buffer, random: Random): Buffer {
  return random.chance(0.5) ? bytes : mutate(bytes, random);
}

/** One to four small changes anywhere. */
function mutate(bytes: Buffer, random: Random): Buffer {
  let changed = Buffer.from(bytes);
  for (let left = 1 + random.below(4); left > 0; left--) {
    const at = random.below(changed.length + 1);
    const [before, after] = [changed.subarray(0, at), changed.subarray(at)];
    switch (random.below(6)) {
      case 0:
        changed = Buffer.concat([before, random.bytes(1 + random.below(8)), after]);
        break;
      case 1:
        changed = Buffer.concat([before, after.subarray(1 + random.below(16))]);
        break;
      case 2:
        if (at < changed.length) changed[at] = random.below(256);
        break;
      case 3:
        if (at < changed.length) changed[at] = (changed[at] ?? 0) ^ (1 << random.below(8));
        break;
      case 4:
        changed = Buffer.concat([
          before,
          changed.subarray(random.below(changed.length + 1)).subarray(0, 64),
          after,
        ]);
        break;
      default:
        changed = before;
    }
  }
  return changed;
}

function shuffleSome(frames: Buffer[], random: Random): void {
  for (let left = 1 + random.below(4); left > 0; left--) {
    const [from, to] = [random.below(frames.length), random.below(frames.length + 1)];
    const moved = frames[from] ?? Buffer.alloc(0);
    if (random.chance(0.5)) frames.splice(from, 1);
    frames.splice(
      to,
      0,
      random.chance(0.5)
        ? moved
        : frame(random.below(12), random.below(256), random.below(5), random.bytes(random.below(40))),
    );
  }
}
