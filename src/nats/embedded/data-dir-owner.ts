/** Identifies the owner of a data directory: it listens on a local socket and sends its PID to each client. */
import { connect, createServer, type Server } from "node:net";
import { pid } from "node:process";
import { StartError } from "../client/start-error.js";

/** How long to wait for the owner's PID. A busy owner may not send it; the connection alone proves that it is alive. */
const PID_TIMEOUT_MS = 300;

/** Probes an owner. Only a refused connection or a missing socket means that it is dead. */
export function probe(path: string): Promise<"dead" | { readonly pid: string | undefined }> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    let answer = "";
    const finish = (result: "dead" | { readonly pid: string | undefined }): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(result);
    };
    const alive = (): void => finish({ pid: /^\d+\n/.test(answer) ? answer.trim() : undefined });
    const timer = setTimeout(alive, PID_TIMEOUT_MS);
    socket.on("data", (chunk) => {
      answer += chunk.toString();
      if (answer.endsWith("\n")) alive();
    });
    socket.on("end", alive);
    socket.on("error", (error) => {
      const isDead = ["ECONNREFUSED", "ENOENT"].includes(codeOf(error) ?? "");
      if (isDead) finish("dead");
      else alive();
    });
  });
}

export function listen(path: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.end(`${pid}\n`);
    });
    server.on("error", reject);
    server.listen({ path, exclusive: true }, () => resolve(server.unref()));
  });
}

export async function close(server: Server): Promise<void> {
  await new Promise((resolve) => server.close(resolve));
}

export function inUse(directory: string, owner: string | undefined): StartError {
  const who = owner === undefined ? "another service" : `the service with PID ${owner}`;
  return new StartError(
    `The data directory ${JSON.stringify(directory)} is in use by ${who}; stop it, or set DATA_DIR to another directory.`,
  );
}

export function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | null)?.code;
}
