/** How the owner of a data directory is found: it listens on a local socket and says its pid to whoever connects. */
import { connect, createServer, type Server } from "node:net";
import { pid } from "node:process";
import { StartError } from "../client/start-error.js";

/** Milliseconds to wait for the owner to say its pid. It may be busy; that it lives is known without. */
const PID_TIMEOUT_MS = 300;

/** Whether the owner of a name lives. Only a refused connection says that it does not. */
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
  const who = owner === undefined ? "another service" : `the service with pid ${owner}`;
  return new StartError(
    `The data directory ${JSON.stringify(directory)} is in use by ${who}; stop that one, or set DATA_DIR to another directory.`,
  );
}

export function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | null)?.code;
}
