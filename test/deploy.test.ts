/** The files in deploy/ fit the service: its settings, ports, probes and version. What needs Docker or Kubernetes is not run here. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { ALL_SETTINGS, type Config, loadConfig } from "../src/config/config.js";
import { NATS_PROGRAM } from "./support/nats-program.js";

const ROOT = join(import.meta.dirname, "..");
const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");
const { version, engines } = JSON.parse(read("package.json")) as {
  version: string;
  engines: { node: string };
};
const { python } = JSON.parse(read("embedded/platforms.json")) as { python: { version: string } };
const NATS_VERSION = python.version;

/** A part of a YAML file whose shape the tests know. */
interface Thing {
  readonly [name: string]: Thing;
}

const scratch = mkdtempSync(join(tmpdir(), "ironflow-deploy-"));
afterAll(() => rmSync(scratch, { recursive: true }));

/** Whether nats-server takes the configuration, and what it says of the largest message. */
function checkNatsConfig(text: string): void {
  const file = join(scratch, "nats.conf");
  writeFileSync(file, text);
  const routes = [1, 2, 3].map((node) => [`NATS_ROUTE_${node}`, `nats://route:password@nats-${node}:6222`]);
  const env = {
    NATS_NAME: "n",
    NATS_PASSWORD: "p",
    ...(Object.fromEntries(routes) as Record<string, string>),
  };
  execFileSync(NATS_PROGRAM.program, ["-t", "-c", file], { env, stdio: "pipe" });
  const megabytes = Number(/^max_payload: (\d+)MB$/m.exec(text)?.[1]);
  expect(megabytes * 1_000_000).toBeGreaterThanOrEqual(configOf().limits.valueBytesMax + 16_384);
  expect(text).toMatch(/^ *sync_interval: always$/m);
}

function configOf(environment: Readonly<Record<string, string>> = {}): Config {
  return loadConfig(environment);
}

/** The settings among variables, once others have a place of theirs: fails for names that are no settings. */
function expectSettings(variables: Readonly<Record<string, string>>, others: readonly string[] = []): Config {
  const known = new Set(ALL_SETTINGS.map(({ env }) => env));
  const names = Object.keys(variables).filter((name) => !others.includes(name));
  expect(names.filter((name) => !known.has(name))).toEqual([]);
  return configOf({ ...variables, IRONFLOW_API_KEY: "stands-for-the-secret" });
}

describe("deploy/Dockerfile", () => {
  const dockerfile = read("deploy/Dockerfile").replace(/\\\n/g, " ");
  const instructions = (name: string): string[] =>
    [...dockerfile.matchAll(new RegExp(`^${name} (.*)$`, "gm"))].map(([, rest = ""]) => rest);

  it("copies only what there is, and all that the package is made of", () => {
    const copies = instructions("COPY").map((rest) => ({
      isBuilt: rest.startsWith("--from=build "),
      sources: rest.replace("--from=build ", "").split(/\s+/).slice(0, -1),
    }));
    const given = copies.flatMap(({ isBuilt, sources }) => (isBuilt ? [] : sources));
    expect(given.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
    const copied = copies.flatMap(({ sources }) => sources.map((path) => path.replace("/app/", "")));
    const { files } = JSON.parse(read("package.json")) as { files: string[] };
    const needed = [...files, "package.json", "node_modules"];
    const isCopied = (path: string): boolean =>
      copied.some((source) => path === source || path.startsWith(`${source}/`));
    expect(needed.filter((path) => !isCopied(path))).toEqual([]);
  });

  it("has the package's version and a Node that it runs on", () => {
    expect(dockerfile).toContain(`org.opencontainers.image.version="${version}"`);
    expect(dockerfile).toContain(`ironflow-kv:${version}`);
    const major = /\d+/.exec(engines.node)?.[0] ?? "";
    for (const from of instructions("FROM")) expect(from).toMatch(new RegExp(`^node:${major}-slim`));
  });

  it("serves on the default port, as nobody special, and asks /readyz whether it is well", () => {
    expect(instructions("EXPOSE")).toEqual([String(configOf().port)]);
    expect(instructions("USER")).toEqual(["node"]);
    expect(dockerfile).toMatch(/HEALTHCHECK[^\n]*\/readyz/);
    const environment = Object.fromEntries(
      [...(instructions("ENV")[0] ?? "").matchAll(/(\w+)=(\S+)/g)].map(([, name = "", value = ""]) => [
        name,
        value,
      ]),
    );
    expectSettings(environment, ["NODE_ENV"]);
    expect(() => configOf(environment)).toThrow("IRONFLOW_API_KEY");
  });
});

describe("deploy/docker-compose.yml", () => {
  const compose = parse(read("deploy/docker-compose.yml"), { merge: true }) as Thing;
  const { services } = compose as unknown as { services: Record<string, Service> };
  interface Service {
    readonly image: string;
    readonly environment?: Record<string, string>;
    readonly volumes?: string[];
    readonly ports?: string[];
    readonly depends_on?: object;
    readonly stop_grace_period?: string;
  }

  it("gives the service settings that go together, and time enough to stop", () => {
    const service = services["ironflow-kv"];
    const { limits, replicas } = expectSettings(service?.environment ?? {});
    expect(replicas).toBe(3);
    expect(parseInt(service?.stop_grace_period ?? "") * 1_000).toBeGreaterThan(
      limits.shutdownDelayMs + limits.drainTimeoutMs,
    );
    expect(service?.image).toBe(`ironflow-kv:${version}`);
  });

  it("names files and services that there are", () => {
    for (const service of Object.values(services)) {
      const files = (service.volumes ?? []).filter((volume) => volume.startsWith("./"));
      for (const file of files) expect(existsSync(join(ROOT, "deploy", file.split(":")[0] ?? ""))).toBe(true);
      for (const name of Object.keys(service.depends_on ?? {})) expect(services).toHaveProperty(name);
    }
    expect(read("deploy/haproxy.cfg")).toContain(`ironflow-kv:${configOf().port} `);
    expect(read("deploy/haproxy.cfg")).toContain("GET /readyz");
  });

  it("runs the NATS that the service is tested with", () => {
    for (const name of ["nats-1", "nats-2", "nats-3"]) {
      expect(services[name]?.image).toBe(`nats:${NATS_VERSION}-alpine`);
      expect(services[name]?.environment).toMatchObject({ NATS_NAME: name });
    }
    checkNatsConfig(read("deploy/nats.conf"));
  });
});

describe("deploy/kubernetes", () => {
  const FOLDER = "deploy/kubernetes";
  const kustomization = parse(read(`${FOLDER}/kustomization.yaml`)) as Record<string, string[]>;
  const manifests = (kustomization.resources ?? []).flatMap((file) =>
    parseAllDocuments(read(`${FOLDER}/${file}`)).map((one) => {
      expect(one.errors).toEqual([]);
      return one.toJS() as Manifest;
    }),
  );
  interface Manifest {
    readonly kind: string;
    readonly metadata: { readonly name: string };
    readonly spec: Thing & { readonly replicas: number };
    readonly data?: Record<string, string>;
    readonly stringData?: Record<string, string>;
  }
  interface Container {
    readonly image: string;
    readonly env: { readonly name: string; readonly value?: string; readonly valueFrom?: Thing }[];
    readonly ports: { readonly name: string; readonly containerPort: number }[];
    readonly [probe: `${string}Probe`]: {
      readonly httpGet: { readonly path: string; readonly port: string };
    };
  }
  interface PodSpec {
    readonly containers: [Container];
    readonly enableServiceLinks?: boolean;
    readonly terminationGracePeriodSeconds: number;
  }
  const find = (kind: string, name: string): Manifest => {
    const found = manifests.find((one) => one.kind === kind && one.metadata.name === name);
    if (found === undefined) throw new Error(`there is no ${kind} ${name}`);
    return found;
  };
  const podOf = (manifest: Manifest): PodSpec => manifest.spec.template?.spec as unknown as PodSpec;
  const service = podOf(find("Deployment", "ironflow-kv"));
  const nats = podOf(find("StatefulSet", "nats"));
  const secret = find("Secret", "ironflow-kv").stringData ?? {};

  it("has each file in its list, and only these", () => {
    const files = readdirSync(join(ROOT, FOLDER)).filter((file) => file !== "kustomization.yaml");
    expect([...(kustomization.resources ?? [])].sort()).toEqual(files.sort());
  });

  it("gives the service settings that go together, and time enough to stop", () => {
    const [container] = service.containers;
    const variables = Object.fromEntries(container.env.map(({ name, value = "secret" }) => [name, value]));
    const { limits, port, metricsPort, replicas } = expectSettings(variables, ["NATS_PASSWORD"]);
    expect(replicas).toBe(find("StatefulSet", "nats").spec.replicas);
    expect(service.terminationGracePeriodSeconds * 1_000).toBeGreaterThan(
      limits.shutdownDelayMs + limits.drainTimeoutMs,
    );
    expect(limits.shutdownDelayMs).toBeGreaterThan(0);
    expect(
      Object.fromEntries(container.ports.map(({ name, containerPort }) => [name, containerPort])),
    ).toEqual({
      http: port,
      metrics: metricsPort,
    });
    expect(container.image).toBe(`ironflow-kv:${version}`);
    // Or Kubernetes sets IRONFLOW_KV_PORT, which is no setting.
    expect(service.enableServiceLinks).toBe(false);
  });

  it("probes what the service has", () => {
    const [container] = service.containers;
    expect(container.startupProbe?.httpGet).toEqual({ path: "/healthz", port: "http" });
    expect(container.livenessProbe?.httpGet).toEqual({ path: "/healthz", port: "http" });
    expect(container.readinessProbe?.httpGet).toEqual({ path: "/readyz", port: "http" });
  });

  it("takes its secrets from the Secret, whose example does not start", () => {
    for (const { valueFrom } of [...service.containers[0].env, ...nats.containers[0].env]) {
      const from = valueFrom?.secretKeyRef as { name?: string; key?: string } | undefined;
      if (from === undefined) continue;
      expect(from.name).toBe("ironflow-kv");
      expect(Object.keys(secret)).toContain(from.key);
    }
    expect(() => configOf(secret)).toThrow("IRONFLOW_API_KEY must be 16 to 256 printable ASCII characters");
  });

  it("selects pods and ports that there are", () => {
    const ports = { "ironflow-kv": service.containers[0].ports, nats: nats.containers[0].ports };
    for (const [name, known] of Object.entries(ports)) {
      const names = known.map((port) => port.name);
      const exposed = find("Service", name).spec as unknown as {
        selector: object;
        ports: { targetPort: string }[];
      };
      expect(exposed.selector).toEqual({ app: name });
      expect(names).toEqual(expect.arrayContaining(exposed.ports.map(({ targetPort }) => targetPort)));
      const policy = find("NetworkPolicy", name).spec as unknown as {
        ingress: { ports: { port: string }[] }[];
      };
      expect(names).toEqual(
        expect.arrayContaining(policy.ingress.flatMap((rule) => rule.ports.map(({ port }) => port))),
      );
      for (const kind of ["PodDisruptionBudget", "NetworkPolicy"])
        expect(JSON.stringify(find(kind, name))).toContain(`{"app":"${name}"}`);
    }
  });

  it("runs the NATS that the service is tested with", () => {
    expect(nats.containers[0].image).toBe(`nats:${NATS_VERSION}-alpine`);
    checkNatsConfig(find("ConfigMap", "nats").data?.["nats.conf"] ?? "");
  });
});
