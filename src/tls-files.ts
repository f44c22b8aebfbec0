/**
 * The TLS files, read at the start and again and again. They are compared by content, not watched: that notices every way of replacing
 * them (written over, renamed into place, the links of a mounted Kubernetes secret) on every file system.
 */
import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createSecureContext } from "node:tls";
import type { Logger } from "pino";
import type { Config } from "./config.js";
import type { TlsMaterial } from "./acceptor.js";

type TlsConfig = Pick<Config, "tlsCert" | "tlsKey" | "tlsClientCa">;

/** Reads the files; undefined where TLS is not configured. Throws Error with a line for people where they can't be used. */
export async function loadTls(config: TlsConfig): Promise<TlsMaterial | undefined> {
  const { tlsCert, tlsKey, tlsClientCa } = config;
  if (tlsCert === undefined || tlsKey === undefined) return undefined;
  const [cert, key, clientCa] = await Promise.all([
    read("TLS_CERT", tlsCert),
    read("TLS_KEY", tlsKey),
    tlsClientCa === undefined ? undefined : read("TLS_CLIENT_CA", tlsClientCa),
  ]);
  const material: TlsMaterial = { cert, key, ...(clientCa === undefined ? {} : { clientCa }) };
  try {
    createSecureContext({ cert, key, ca: clientCa });
  } catch (error) {
    throw new Error(`TLS_CERT, TLS_KEY and TLS_CLIENT_CA do not make a whole: ${messageOf(error)}.`, {
      cause: error,
    });
  }
  return material;
}

async function read(setting: string, path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new Error(`${setting} is ${path}, which can't be read: ${messageOf(error)}.`, { cause: error });
  }
}

export interface TlsFollowing {
  readonly config: TlsConfig;
  readonly intervalMs: number;
  readonly log: Pick<Logger, "info" | "error">;
  /** Takes files that changed and go together. */
  readonly use: (material: TlsMaterial) => void;
}

/**
 * Looks at the files until it is told to stop. What changed is used when it was the same twice, so that nobody is still writing. What
 * can't be used is logged once; the files before it stay in use.
 */
export function followTls(inUse: TlsMaterial, following: TlsFollowing): { stop(): void } {
  const { config, intervalMs, log, use } = following;
  let current = JSON.stringify(inUse);
  let seen = current;
  let lastProblem: string | undefined;
  let isLooking = false;
  const look = async (): Promise<void> => {
    const material = await loadTls(config);
    const found = JSON.stringify(material);
    lastProblem = undefined;
    if (material !== undefined && found !== current && found === seen) {
      use(material);
      current = found;
      log.info({ validTo: new X509Certificate(material.cert).validTo }, "the TLS files were read again");
    }
    seen = found;
  };
  const timer = setInterval(() => {
    if (isLooking) return;
    isLooking = true;
    look()
      .catch((error: unknown) => {
        const problem = messageOf(error);
        if (problem !== lastProblem) log.error(`${problem} The TLS files before stay in use.`);
        lastProblem = problem;
      })
      .finally(() => (isLooking = false));
  }, intervalMs);
  timer.unref();
  return { stop: () => clearInterval(timer) };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
