/**
 * Loads the TLS files and polls them for changes. Compares content instead of watching the files, which detects every way of replacing them
 * (overwritten, renamed into place, the symlinks of a mounted Kubernetes secret) on every file system.
 */
import { X509Certificate } from "node:crypto";
import { createSecureContext } from "node:tls";
import type { Logger } from "pino";
import { readRegularFile } from "../kv/regular-file.js";
import type { TlsMaterial } from "./acceptor.js";

/** The paths of the files. */
interface TlsConfig {
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
  readonly tlsClientCa: string | undefined;
}

/** Reads the files; undefined if TLS is not configured. Throws Error with a one-line message if they can't be used. */
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
    throw new Error(`TLS_CERT, TLS_KEY and TLS_CLIENT_CA can't be used together: ${messageOf(error)}.`, {
      cause: error,
    });
  }
  return material;
}

async function read(setting: string, path: string): Promise<string> {
  try {
    return (await readRegularFile(path)).toString();
  } catch (error) {
    throw new Error(`${setting} is ${path}, which can't be read: ${messageOf(error)}.`, { cause: error });
  }
}

export interface TlsFollowing {
  readonly config: TlsConfig;
  readonly intervalMs: number;
  readonly log: Pick<Logger, "info" | "error">;
  /** Called with changed files that are valid together. */
  readonly use: (material: TlsMaterial) => void;
}

/**
 * Polls the files until `stop()`. Uses a change once two polls read the same content, in case a write is in progress. Logs unusable files
 * once and keeps the previous ones.
 */
export function followTls(inUse: TlsMaterial, following: TlsFollowing): { stop(): void } {
  const { config, intervalMs, log, use } = following;
  let current = JSON.stringify(inUse);
  let seen = current;
  let lastProblem: string | undefined;
  let isChecking = false;
  const check = async (): Promise<void> => {
    const material = await loadTls(config);
    const found = JSON.stringify(material);
    lastProblem = undefined;
    if (material !== undefined && found !== current && found === seen) {
      use(material);
      current = found;
      log.info({ validTo: new X509Certificate(material.cert).validTo }, "reloaded the TLS files");
    }
    seen = found;
  };
  const timer = setInterval(() => {
    if (isChecking) return;
    isChecking = true;
    check()
      .catch((error: unknown) => {
        const problem = messageOf(error);
        if (problem !== lastProblem) log.error(`${problem} The previous TLS files stay in use.`);
        lastProblem = problem;
      })
      .finally(() => (isChecking = false));
  }, intervalMs);
  timer.unref();
  return { stop: () => clearInterval(timer) };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
