import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { NatsConnection } from "@nats-io/transport-node";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { type ConnectedNats, connectNats, type ConnectOptions } from "../../src/nats/client/connect.js";
import { parseServerUrls } from "../../src/nats/client/server-urls.js";
import { connect } from "../../src/nats/client/transport.js";
import { StartError } from "../../src/nats/client/start-error.js";
import { freePort, startNatsServer, type TestNatsServer } from "../support/nats-server.js";
import { succeeds, until } from "../support/until.js";
import { makeOperator } from "./operator.js";

let scratch: string;
const cleanUp: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "ironflow-connect-"));
});
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

async function server(config = ""): Promise<TestNatsServer> {
  const started = await startNatsServer({ config });
  cleanUp.push(() => started.remove());
  return started;
}

async function connected(options: ConnectOptions): Promise<ConnectedNats> {
  const nats = await connectNats(options);
  cleanUp.push(() => nats.connection.close());
  return nats;
}

async function failureOf(options: ConnectOptions): Promise<string> {
  const failure = await connectNats(options).then(
    () => "connected",
    (error: unknown) => error,
  );
  expect(failure).toBeInstanceOf(StartError);
  const { message } = failure as StartError;
  expect(message).not.toContain("\n");
  return message;
}

describe("NATS_URL", () => {
  it.each([
    ["localhost", { servers: ["localhost:4222"], tls: false }],
    ["10.0.0.1:5000", { servers: ["10.0.0.1:5000"], tls: false }],
    ["nats://a:1, nats://b:2,", { servers: ["a:1", "b:2"], tls: false }],
    ["nats://[::1]:4223", { servers: ["[::1]:4223"], tls: false }],
    ["nats://host:80", { servers: ["host:80"], tls: false }],
    ["tls://host", { servers: ["host:4222"], tls: true }],
    ["nats://me:secret@host", { servers: ["host:4222"], tls: false, user: "me", pass: "secret" }],
    ["nats://me:4%40%2Fx@host", { servers: ["host:4222"], tls: false, user: "me", pass: "4@/x" }],
    ["nats://t0ken@host", { servers: ["host:4222"], tls: false, token: "t0ken" }],
    [
      "nats://me:secret@a,nats://b",
      { servers: ["a:4222", "b:4222"], tls: false, user: "me", pass: "secret" },
    ],
  ])("%s", (text, expected) => {
    expect(parseServerUrls(text)).toEqual(expected);
  });

  it.each([
    [" , ", "NATS_URL has no server"],
    ["ws://host", "NATS_URL has the scheme ws://; it must be nats:// or tls://."],
    ["nats://a,nats://b:x", "Server 2 in NATS_URL is malformed; it must be a URL"],
    ["nats://", "Server 1 in NATS_URL is malformed; it must be a URL"],
    ["nats://host/path", "Server 1 in NATS_URL is malformed; it must be a URL"],
    ["nats://me:hush@a,nats://you:hush@b", "different credentials"],
  ])("refuses %s, without showing what may be secret", (text, sentence) => {
    expect(() => parseServerUrls(text)).toThrow(sentence);
    expect(() => parseServerUrls(text)).not.toThrow("hush");
  });
});

describe("a connection", () => {
  it("says what the server is", async () => {
    const { url } = await server();
    const nats = await connected({ servers: url });
    expect(nats).toMatchObject({ isClustered: false, maxPayloadBytes: 8 * 1024 * 1024 });
    expect(nats.serverVersion).toBe(nats.connection.info?.version);
  });

  it("tells a cluster from a single server, and waits until it has a leader", async () => {
    const ports = await Promise.all([freePort(), freePort(), freePort()]);
    const routes = ports.map((port) => `"nats://127.0.0.1:${port}"`).join(", ");
    const servers = await Promise.all(
      ports.map((port) =>
        server(
          `server_name: "n${port}", cluster { name: "c", listen: "127.0.0.1:${port}", routes: [${routes}] }`,
        ),
      ),
    );
    const nats = await connected({
      servers: servers.map(({ url }) => url).join(","),
      readyTimeoutMs: 25_000,
    });
    expect(nats.isClustered).toBe(true);
  });

  it.each([
    ["user and password", 'authorization { user: "me", password: "4@/:,x" }', "me:4%40%2F%3A%2Cx@"],
    ["token", 'authorization { token: "s3cret" }', "s3cret@"],
  ])("takes a %s from the URL", async (_, config, credentials) => {
    const { url } = await server(config);
    await connected({ servers: url.replace("nats://", `nats://${credentials}`) });
  });

  it("takes a credentials file, and reads it again when it reconnects", async () => {
    const operator = makeOperator();
    const file = join(scratch, "user.creds");
    await writeFile(file, operator.credentials());
    const nats = await server(operator.config);
    const { connection } = await connected({ servers: nats.url, credsFile: file });
    await nats.stop();
    await rm(file);
    await reconnects(connection, () => nats.start());
    await nats.stop();
    await writeFile(file, operator.credentials("renewed"));
    await reconnects(connection, () => nats.start());
    const who = await connection.request("$SYS.REQ.USER.INFO");
    expect(who.string()).toContain(operator.lastUser());
  });

  it("uses TLS where the URL asks for it, and checks the certificate", async () => {
    const key = join(scratch, "key.pem");
    const cert = join(scratch, "cert.pem");
    const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
    await promisify(execFile)("openssl", [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"],
      ...["-keyout", key, "-out", cert, ...subject],
    ]);
    const { url } = await server(`tls { cert_file: "${cert}", key_file: "${key}" }`);
    const servers = url.replace("nats://", "tls://");
    expect(await failureOf({ servers, readyTimeoutMs: 0 })).toContain("self-signed certificate");
    const { connection } = await connected({ servers, tls: { ca: await readFile(cert, "utf8") } });
    expect(connection.info?.tls_required).toBe(true);
  });

  it("refuses plain text where the URL asks for TLS", async () => {
    const { url } = await server();
    const message = await failureOf({ servers: url.replace("nats://", "tls://"), readyTimeoutMs: 0 });
    expect(message).toContain("does not support 'tls'");
  });

  it("outlives restarts, and servers that refuse its credentials for a while", async () => {
    const user = 'authorization { user: "me", password: "right" }';
    const nats = await server(user);
    const { connection } = await connected({ servers: nats.url.replace("nats://", "nats://me:right@") });
    await nats.stop();
    const configFile = join(nats.directory, "nats.conf");
    const config = await readFile(configFile, "utf8");
    await writeFile(configFile, config.replace("right", "wrong"));
    const refusals = untilStatus(connection, "error", 3);
    await nats.start();
    await refusals;
    await nats.stop();
    await writeFile(configFile, config);
    await reconnects(connection, () => nats.start());
    expect(connection.isClosed()).toBe(false);
  });

  it("goes to a server that was down at the start, when the other is lost", async () => {
    const [first, second] = await Promise.all([server(), server()]);
    await first.stop();
    const { connection } = await connected({ servers: `${first.url},${second.url}` });
    await second.stop();
    await reconnects(connection, () => first.start());
    expect(connection.getServer()).toContain(String(first.port));
  });
});

describe("a server that won't do", () => {
  it("can't be reached", async () => {
    const port = await freePort();
    const message = await failureOf({ servers: `nats://me:hush@127.0.0.1:${port}`, readyTimeoutMs: 0 });
    expect(message).toBe(`NATS at 127.0.0.1:${port} can't be reached: connection refused.`);
  });

  it("is waited for when it comes up a little late", async () => {
    const nats = await server();
    await nats.stop();
    const connecting = connected({ servers: nats.url, readyTimeoutMs: 20_000 });
    await nats.start();
    await connecting;
  });

  it("rejects the credentials", async () => {
    const { url, port } = await server('authorization { user: "me", password: "right" }');
    const message = await failureOf({ servers: url.replace("nats://", "nats://me:hush@") });
    expect(message).toBe(`NATS at 127.0.0.1:${port} rejects the credentials; check NATS_URL and NATS_CREDS.`);
  });

  it.each([
    ["malformed", "user.jwt is not here"],
    ["missing", undefined],
  ])("gets no credentials from a %s file", async (name, content) => {
    const credsFile = join(scratch, `${name}.creds`);
    if (content !== undefined) await writeFile(credsFile, content);
    expect(await failureOf({ servers: "127.0.0.1:1", credsFile })).toBe(
      `NATS_CREDS is ${JSON.stringify(credsFile)}, which is not a readable NATS credentials file.`,
    );
  });

  it.each([
    [
      "does not let the account use JetStream",
      "accounts { a { users: [ { user: u, password: p } ] } }",
      "u:p@",
      "does not allow this account to use JetStream",
    ],
    [
      "does not permit JetStream's subjects",
      'authorization { users: [ { user: u, password: p, permissions { publish: "x" } } ] }',
      "u:p@",
      "does not allow this user to use JetStream",
    ],
  ])("%s", async (_, config, credentials, sentence) => {
    const { url } = await server(config);
    expect(await failureOf({ servers: url.replace("nats://", `nats://${credentials}`) })).toContain(sentence);
  });

  it("has JetStream disabled", async () => {
    const { url } = await server("jetstream: disabled");
    expect(await failureOf({ servers: url })).toContain("has JetStream disabled; enable it.");
  });

  it("is too old", async () => {
    const port = await oldServer("2.12.11");
    expect(await failureOf({ servers: `127.0.0.1:${port}` })).toBe(
      `The NATS server at 127.0.0.1:${port} is version 2.12.11; it must be 2.14.0 or newer.`,
    );
  });
});

/** Answers a connection as a server of that version does; there is no old program to start. */
async function oldServer(version: string): Promise<number> {
  const old: Server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.write(
      `INFO ${JSON.stringify({ version, headers: true, max_payload: 1_048_576, jetstream: true })}\r\n`,
    );
    socket.on("data", (data) => {
      if (data.includes("PING")) socket.write("PONG\r\n");
    });
  }).listen(0, "127.0.0.1");
  await once(old, "listening");
  cleanUp.push(() => new Promise((resolve) => old.close(resolve)));
  const address = old.address();
  return address === null || typeof address === "string" ? 0 : address.port;
}

async function reconnects(connection: NatsConnection, action: () => Promise<void>): Promise<void> {
  const back = untilStatus(connection, "reconnect");
  await action();
  await back;
}

function untilStatus(connection: NatsConnection, type: string, times = 1): Promise<void> {
  return (async () => {
    let seen = 0;
    for await (const status of connection.status()) {
      if (status.type === type && ++seen === times) return;
    }
    throw new Error("the connection was closed");
  })();
}

it("reconnects at once although the clock was set back", async () => {
  const nats = await server();
  const connection = await connect({ servers: nats.url, maxReconnectAttempts: -1 });
  cleanUp.push(() => connection.close());
  const clock = vi.spyOn(Date, "now");
  cleanUp.push(() => {
    clock.mockRestore();
    return Promise.resolve();
  });
  const setBackMs = Date.now() - 3_600_000;
  const startedMs = performance.now();
  clock.mockImplementation(() => setBackMs + performance.now() - startedMs);
  await nats.stop("SIGKILL");
  await nats.start();
  await until("the connection is back", () => succeeds(connection.flush()));
});
