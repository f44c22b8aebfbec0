/** TLS files that change while the service runs, and clients with certificates of their own. Skipped where there is no openssl. */
import { once } from "node:events";
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { connect as connectHttp2, type ClientHttp2Session } from "node:http2";
import { Agent, request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { connect as connectTls, TLSSocket } from "node:tls";
import { type Logger, pino } from "pino";
import { WebSocket } from "ws";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { IncomingMessage } from "node:http";
import { followTls } from "../../src/listener/tls-files.js";
import { type Certificate, hasOpenssl, makeCertificate } from "../support/certificates.js";
import { startTestService, type TestService } from "../support/service.js";
import { until } from "../support/until.js";

const folder = mkdtempSync(join(tmpdir(), "ironflow-tls-files-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The common name of the certificate that a new connection is shown. */
async function servedName(port: number): Promise<unknown> {
  const socket = connectTls({ port, host: "127.0.0.1", rejectUnauthorized: false });
  await once(socket, "secureConnect");
  const name: unknown = socket.getPeerCertificate().subject.CN;
  socket.destroy();
  return name;
}

function untilServed(port: number, name: string): Promise<void> {
  return until(`the certificate of ${name} is served`, async () => (await servedName(port)) === name);
}

describe.skipIf(!hasOpenssl)("TLS files that change", () => {
  const [cert, key] = [join(folder, "cert.pem"), join(folder, "key.pem")];
  const names = ["first", "second", "third", "fourth"] as const;
  let pairs: Record<(typeof names)[number], Certificate>;
  let service: TestService;
  let logged: string[];

  beforeAll(async () => {
    pairs = Object.fromEntries(names.map((name) => [name, makeCertificate(folder, name)])) as typeof pairs;
    write(pairs.first);
    logged = [];
    service = await startTestService(
      { "tls-cert": cert, "tls-key": key, "tls-reload-interval-ms": "100" },
      logInto(logged),
    );
  });
  afterAll(() => service.remove());

  function write(pair: Certificate): void {
    writeFileSync(cert, pair.cert);
    writeFileSync(key, pair.key);
  }

  /** At one moment, so that nobody sees a part. */
  function replace(file: string, text: string): void {
    writeFileSync(`${file}.new`, text);
    renameSync(`${file}.new`, file);
  }

  it("are used by new connections, and open ones continue", async () => {
    const session = connectHttp2(service.url, { rejectUnauthorized: false });
    expect(await http2Status(session)).toBe(200);
    write(pairs.second);
    await untilServed(service.port, "second");
    expect(await http2Status(session)).toBe(200);
    expect((session.socket as TLSSocket).getPeerCertificate().subject.CN).toBe("first");
    session.close();
  });

  it("can be symbolic links that are replaced, as Kubernetes does", async () => {
    for (const name of ["third", "fourth"] as const) {
      mkdirSync(join(folder, `data-${name}`));
      writeFileSync(join(folder, `data-${name}`, "cert.pem"), pairs[name].cert);
      writeFileSync(join(folder, `data-${name}`, "key.pem"), pairs[name].key);
    }
    const pointTo = (name: string): void => {
      symlinkSync(`data-${name}`, join(folder, "data-new"));
      renameSync(join(folder, "data-new"), join(folder, "data"));
    };
    pointTo("third");
    for (const file of ["cert.pem", "key.pem"]) {
      symlinkSync(`data/${file}`, join(folder, `${file}.link`));
      renameSync(join(folder, `${file}.link`), join(folder, file));
    }
    await untilServed(service.port, "third");
    pointTo("fourth");
    await untilServed(service.port, "fourth");
    rmSync(cert);
    rmSync(key);
  });

  it.each([
    ["a key of another certificate", () => replace(key, pairs.second.key), "can't be used together"],
    ["half a certificate", () => replace(cert, pairs.first.cert.slice(0, 300)), "can't be used together"],
    ["no certificate", () => rmSync(cert), "TLS_CERT is .*, which can't be read"],
  ])("stay as they were where there is %s, which is logged", async (_name, breakThem, problem) => {
    write(pairs.first);
    await untilServed(service.port, "first");
    logged.length = 0;
    breakThem();
    await until("the problem is logged", () => logged.length > 0);
    expect(await servedName(service.port)).toBe("first");
    expect(logged[0]).toMatch(new RegExp(`${problem}.*stay in use`));
    write(pairs.second);
    await untilServed(service.port, "second");
  });
});

describe.skipIf(!hasOpenssl)("files that can't be used", () => {
  it.each([
    ["with the same problem are logged once", 0],
    ["with another problem each time are logged each time", 1],
  ])("%s", async (_name, changes) => {
    const { certFile, keyFile } = makeCertificate(folder, "followed");
    const material = { cert: readFileSync(certFile, "utf8"), key: readFileSync(keyFile, "utf8") };
    const problems: string[] = [];
    let checks = 0;
    const config = {
      // Each check reads it once.
      get tlsCert() {
        return join(folder, `missing-${++checks * changes}`);
      },
      tlsKey: keyFile,
      tlsClientCa: undefined,
    };
    const log = logInto(problems);
    const following = followTls(material, { config, intervalMs: 1, log, use: () => undefined });
    // The fifth check begins when the fourth one is over.
    await until("the files are checked five times", () => checks >= 5);
    following.stop();
    if (changes === 0) expect(problems).toHaveLength(1);
    else expect(problems.length).toBeGreaterThanOrEqual(4);
  });
});

describe.skipIf(!hasOpenssl)("clients with certificates", () => {
  let authority: Certificate;
  let clients: Record<"orders" | "stranger" | "operator", Certificate>;
  let service: TestService;
  beforeAll(async () => {
    authority = makeCertificate(folder, "authority");
    clients = {
      orders: makeCertificate(folder, "orders-1", authority),
      operator: makeCertificate(folder, "operator", authority),
      stranger: makeCertificate(folder, "stranger"),
    };
    service = await startTestService(settings("optional"));
    await call(clients.operator, "POST", "/api/v1/kv/buckets", '{"name":"orders-b"}');
    await call(clients.operator, "POST", "/api/v1/kv/buckets", '{"name":"other"}');
  });
  afterAll(() => service.remove());

  function settings(mode: string): Record<string, string> {
    return {
      "tls-cert": authority.certFile,
      "tls-key": authority.keyFile,
      "tls-client-ca": authority.certFile,
      "tls-client-auth": mode,
      "tls-client-scopes": "orders-*=read,write,watch:orders-*; operator=read,write,watch,admin:*",
    };
  }

  async function call(
    client: Certificate | undefined,
    method: string,
    path: string,
    body = "",
    options: { url?: string; agent?: Agent; authorization?: string } = {},
  ): Promise<number> {
    const { url = service.url, agent = false, authorization } = options;
    const sent = request(url + path, {
      method,
      agent,
      ca: authority.cert,
      ...(client === undefined ? {} : { cert: client.cert, key: client.key }),
      ...(authorization === undefined ? {} : { headers: { authorization } }),
    }).end(body);
    const [response] = (await once(sent, "response")) as [IncomingMessage];
    response.resume();
    await once(response, "end");
    return response.statusCode ?? 0;
  }
  const key = (bucket: string): string => `/api/v1/kv/buckets/${bucket}/keys/k`;

  it("have the permissions of the rules for their name, and no more", async () => {
    expect(await call(clients.orders, "PUT", key("orders-b"), "v")).toBe(200);
    expect(await call(clients.orders, "GET", key("orders-b"))).toBe(200);
    expect(await call(clients.orders, "PUT", key("other"), "v")).toBe(403);
    expect(await call(clients.orders, "POST", "/api/v1/kv/buckets", '{"name":"orders-c"}')).toBe(403);
    expect(await call(clients.operator, "PUT", key("other"), "v")).toBe(200);
  });

  it("are known on HTTP/2, on a WebSocket, and when they resume a session", async () => {
    const { cert, key: privateKey } = clients.orders;
    const identity = { ca: authority.cert, cert, key: privateKey };
    const session = connectHttp2(service.url, identity);
    expect(await http2Status(session, "/api/v1/kv/buckets/orders-b/keys")).toBe(200);
    expect(await http2Status(session, "/api/v1/kv/buckets/other/keys")).toBe(403);
    session.close();

    const socket = new WebSocket(
      `${service.url.replace("https", "wss")}/api/v1/kv/buckets/orders-b/watch`,
      identity,
    );
    await once(socket, "open");
    socket.close();

    const agent = new Agent({ keepAlive: false, maxCachedSessions: 10 });
    for (let round = 0; round < 3; round++) {
      expect(await call(clients.orders, "GET", key("orders-b"), "", { agent })).toBe(200);
      expect(await call(clients.orders, "GET", key("other"), "", { agent })).toBe(403);
    }
  });

  it("need a key without a certificate, or with one of another authority", async () => {
    expect(await call(undefined, "GET", key("orders-b"))).toBe(401);
    expect(await call(clients.stranger, "GET", key("orders-b"))).toBe(401);
    expect(await call(undefined, "GET", "/healthz")).toBe(200);
  });

  it("have the permissions of the API key that they send", async () => {
    expect(await call(clients.operator, "GET", key("other"), "", { authorization: "Bearer wrong" })).toBe(
      401,
    );
  });

  it("are disconnected without a certificate if one is required", async () => {
    const strict = await startTestService(settings("required"));
    try {
      const { url } = strict;
      expect(await call(clients.operator, "GET", "/api/v1/kv/buckets", "", { url })).toBe(200);
      await expect(call(undefined, "GET", "/healthz", "", { url })).rejects.toThrow();
      await expect(call(clients.stranger, "GET", "/healthz", "", { url })).rejects.toThrow();
    } finally {
      await strict.remove();
    }
  });
});

describe("settings of client certificates", () => {
  const malformed = ["a", "a=read", "a=:b", "=read:b", "a=read,fly:b", "a=read:b c", "a=read:b;"];
  it.each<[Record<string, string>, string]>([
    [{ "tls-client-ca": "ca.pem" }, "TLS_CLIENT_CA is set without TLS"],
    [{ "tls-client-scopes": "a=read:*" }, "set TLS_CLIENT_CA too"],
    ...malformed.map((rules): [Record<string, string>, string] => [
      { "tls-client-scopes": rules },
      "TLS_CLIENT_SCOPES is .*; it must be entries such as",
    ]),
  ])("%j is refused", async (given, sentence) => {
    await expect(startTestService(given)).rejects.toThrow(new RegExp(sentence));
  });
});

/** A log that adds its errors to the lines. */
function logInto(lines: string[]): Logger {
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(chunk.toString());
      done();
    },
  });
  return pino({ level: "error" }, sink);
}

async function http2Status(session: ClientHttp2Session, path = "/healthz"): Promise<unknown> {
  const stream = session.request({ ":path": path });
  const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
  stream.resume();
  return headers[":status"];
}
