/**
 * Clients as people have them, against one service, directly and behind proxies: each writes, reads, is refused, and watches where it can.
 * Runs with EXTENDED=1. A row whose toolchain is missing is skipped with a sentence. docs/clients.md has the table.
 */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, connect } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Certificate, hasOpenssl, makeCertificate } from "../support/certificates.js";
import { isExtendedFor } from "../support/extended.js";
import { send1 } from "../support/http-client.js";
import { startTestService, type TestService } from "../support/service.js";
import { ended, spawn, track } from "../support/started.js";
import { succeeds, until } from "../support/until.js";
import { API_KEY, createMatrixBucket } from "./client-lines.js";

const ROOT = join(import.meta.dirname, "../..");
const run = promisify(execFile);
/** Time to install a toolchain, or to compile. */
const TOOL_MS_MAX = 180_000;
const PYTHON_PACKAGES = [
  "grpcio==1.85.3",
  "grpcio-tools==1.85.1",
  "googleapis-common-protos==1.76.0",
  "httpx[http2]==0.28.1",
  "requests==2.34.2",
  "websockets==17.4",
];
/** With the libraries that a minimal Debian lacks. */
const DEBIAN_PACKAGES = {
  nginx: ["nginx", "libpcre2-8-0"],
  haproxy: ["haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1"],
} as const;

const WITHOUT_OPENSSL = "There is no openssl to make a certificate.";

const REST = [
  "put 200",
  "get Ann",
  "conflict key_exists",
  "too large value_too_large",
  "without key 401",
  "watch k",
];
const REST_STATUSES = ["put 200", "get Ann", "conflict 412", "too large 413", "without key 401"];
const GRPC = [
  "put True",
  "get Ann",
  "conflict ALREADY_EXISTS",
  "too large RESOURCE_EXHAUSTED",
  "without key UNAUTHENTICATED",
  "watch k",
];

const describeClients = describe.runIf(isExtendedFor("the client matrix", "it installs clients and proxies"));

let service: TestService;
let folder: string;
/** The service with TLS; undefined without openssl. */
let secure: { readonly service: TestService; readonly certificate: Certificate } | undefined;
beforeAll(async () => {
  service = await startTestService({ "api-key": API_KEY });
  folder = await mkdtemp(join(tmpdir(), "ironflow-matrix-"));
  await cp(join(import.meta.dirname, "matrix"), folder, { recursive: true });
  if (!hasOpenssl) return;
  const certificate = makeCertificate(folder, "service");
  const tls = { "tls-cert": certificate.certFile, "tls-key": certificate.keyFile };
  secure = { certificate, service: await startTestService({ "api-key": API_KEY, ...tls }) };
});
afterAll(async () => {
  await service.remove();
  await secure?.service.remove();
  await rm(folder, { recursive: true, force: true });
});

const runIn = (command: string, args: readonly string[], env: Record<string, string> = {}) =>
  run(command, args, { cwd: folder, env: { ...process.env, ...env }, timeout: TOOL_MS_MAX });

/** What a client printed, a line each. */
async function shown(
  command: string,
  args: readonly string[],
  url = service.url,
  env = {},
): Promise<string[]> {
  const { stdout } = await runIn(command, [...args, url, API_KEY, await createMatrixBucket(service)], env);
  return stdout.trim().split("\n");
}

/** The same over TLS; undefined without openssl. */
async function shownOverTls(
  command: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<string[] | undefined> {
  if (secure === undefined) return undefined;
  const { certFile, cert } = secure.certificate;
  const bucket = await createMatrixBucket(secure.service, cert);
  const given = [...args, secure.service.url, API_KEY, bucket, certFile];
  const { stdout } = await runIn(command, given, { ...env, SSL_CERT_FILE: certFile });
  return stdout.trim().split("\n");
}

describeClients("Python", { timeout: TOOL_MS_MAX }, () => {
  let env: Record<string, string> | undefined;
  beforeAll(async () => {
    const [packages, stubs] = [join(folder, "packages"), join(folder, "stubs")];
    const pip = ["-m", "pip", "install", "--quiet", "--only-binary=:all:", "--target", packages];
    if (!(await succeeds(runIn("python3", [...pip, ...PYTHON_PACKAGES])))) return;
    env = { PYTHONPATH: [packages, stubs].join(delimiter) };
    await mkdir(stubs);
    const names = ["key_value_service", "bucket_service", "types"];
    const proto = join(ROOT, "proto");
    const files = names.map((name) => join(proto, `ironflow/kv/v1/${name}.proto`));
    const output = ["-I", proto, "-I", packages, `--python_out=${stubs}`, `--grpc_python_out=${stubs}`];
    await runIn("python3", ["-m", "grpc_tools.protoc", ...output, ...files], env);
  }, TOOL_MS_MAX);

  it.for([
    ["httpx-h1", REST],
    ["httpx-h2", REST],
    ["requests", REST],
    ["grpcio", GRPC],
  ] as const)("%s", async ([client, expected], { skip }) => {
    if (env === undefined) return skip("Its packages could not be installed with python3 -m pip.");
    expect(await shown("python3", ["client.py", client], service.url, env)).toEqual(expected);
  });

  it("httpx-h2 over TLS", async ({ skip }) => {
    if (env === undefined) return skip("Its packages could not be installed with python3 -m pip.");
    const lines = await shownOverTls("python3", ["client.py", "httpx-h2"], env);
    if (lines === undefined) return skip(WITHOUT_OPENSSL);
    expect(lines).toEqual(REST);
  });

  it("websockets", async ({ skip }) => {
    if (env === undefined) return skip("It could not be installed with python3 -m pip.");
    const bucket = await createMatrixBucket(service);
    const headers = { authorization: `Bearer ${API_KEY}` };
    await send1(service.url, "PUT", `/api/v1/kv/buckets/${bucket}/keys/k`, { body: "v", headers });
    const { stdout } = await runIn("python3", ["client.py", "websockets", service.url, API_KEY, bucket], env);
    expect(stdout.trim()).toBe("watch k");
  });

  describe.each(["nginx", "haproxy"] as const)("behind %s", (name) => {
    let proxy: Proxy | undefined;
    beforeAll(async () => {
      proxy = await startProxy(name);
    }, TOOL_MS_MAX);
    afterAll(() => proxy?.stop());

    it.for([
      ["httpx-h1", REST],
      ["requests", REST],
      ["grpcio", GRPC],
    ] as const)("%s", async ([client, expected], { skip }) => {
      if (env === undefined || proxy === undefined)
        return skip(`${name} or the packages of Python could not be installed.`);
      const url = client === "grpcio" ? proxy.grpcUrl : proxy.url;
      expect(await shown("python3", ["client.py", client], url, env)).toEqual(expected);
    });
  });
});

describeClients("Java", { timeout: TOOL_MS_MAX }, () => {
  it("the HTTP client of the JDK", async ({ skip }) => {
    if (!(await succeeds(runIn("java", ["-version"])))) return skip("There is no JDK.");
    expect(await shown("java", ["JdkClient.java"])).toEqual(REST_STATUSES);
  });

  it("the HTTP client of the JDK over TLS", async ({ skip }) => {
    if (!(await succeeds(runIn("java", ["-version"])))) return skip("There is no JDK.");
    const lines = await shownOverTls("java", ["JdkClient.java"]);
    if (lines === undefined) return skip(WITHOUT_OPENSSL);
    expect(lines).toEqual([...REST_STATUSES, "HTTP_2"]);
  });
});

describeClients("curl", { timeout: TOOL_MS_MAX }, () => {
  it.for(["--http1.1", "--http2", "--http2-prior-knowledge", "--http2 over TLS"])(
    "%s",
    async (version, { skip }) => {
      if (!(await succeeds(runIn("curl", ["--version"])))) return skip("It is not installed.");
      const isSecure = version === "--http2 over TLS";
      if (isSecure && secure === undefined) return skip(WITHOUT_OPENSSL);
      const [target, certificate] =
        isSecure && secure !== undefined ? [secure.service, secure.certificate] : [service];
      const bucket = await createMatrixBucket(target, certificate?.cert);
      const key = `${target.url}/api/v1/kv/buckets/${bucket}/keys/k`;
      await writeFile(join(folder, "large"), Buffer.alloc(2 << 20));
      const options = [
        version.split(" ", 1).join(""),
        ...(certificate === undefined ? [] : ["--cacert", certificate.certFile]),
      ];
      const curl = async (...args: string[]): Promise<string> => {
        const common = ["--silent", "--show-error", ...options, "-H", `authorization: Bearer ${API_KEY}`];
        return (await runIn("curl", [...common, ...args])).stdout;
      };
      expect(await curl("-X", "PUT", "-d", "Ann", key)).toBe('{"revision":1}');
      expect(await curl(`${key}?raw=true`)).toBe("Ann");
      expect(await curl("-X", "PUT", "-d", "x", "-H", "if-none-match: *", key)).toContain("key_exists");
      expect(await curl("-T", "large", key)).toContain("value_too_large");
    },
  );
});

interface Proxy {
  readonly url: string;
  /** Speaks HTTP/2 without TLS. */
  readonly grpcUrl: string;
  stop(): Promise<void>;
}

/** Starts Debian's program from its package, without installing it. Undefined where that is not possible. */
async function startProxy(name: keyof typeof DEBIAN_PACKAGES): Promise<Proxy | undefined> {
  const place = join(folder, name);
  await mkdir(place);
  const script =
    '{ apt-get download "$@" || { apt-get update -qq && apt-get download "$@"; }; } && for file in *.deb; do dpkg -x "$file" .; done';
  const download = run("bash", ["-c", script, "bash", ...DEBIAN_PACKAGES[name]], {
    cwd: place,
    timeout: TOOL_MS_MAX,
  });
  if (!(await succeeds(download))) return undefined;
  const [port, grpcPort] = [await freePort(), await freePort()];
  const file = name === "nginx" ? "nginx.conf" : "haproxy.cfg";
  const config = (await readFile(join(folder, file), "utf8"))
    .replaceAll("SERVICE_PORT", String(service.port))
    .replaceAll("PROXY_PORT", String(port))
    .replaceAll("GRPC_PORT", String(grpcPort));
  await writeFile(join(place, file), config);
  const args = name === "nginx" ? ["-p", place, "-c", file] : ["-db", "-f", file];
  const env = { ...process.env, LD_LIBRARY_PATH: join(place, "usr/lib/x86_64-linux-gnu") };
  const child = spawn(join(place, "usr/sbin", name), args, { cwd: place, env, stdio: "inherit" });
  const proxy: Proxy = {
    url: `http://127.0.0.1:${port}`,
    grpcUrl: `http://127.0.0.1:${grpcPort}`,
    async stop() {
      ended(proxy);
      child.kill("SIGTERM");
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    },
  };
  track(proxy, () => proxy.stop());
  await until(`${name} accepts connections`, () => accepts(grpcPort));
  return proxy;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  return typeof address === "object" && address !== null ? address.port : 0;
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  const isOpen = await succeeds(once(socket, "connect"));
  socket.destroy();
  return isOpen;
}
