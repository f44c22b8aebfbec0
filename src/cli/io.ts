/** The streams and environment of the command line. `main.ts` passes those of the process, tests pass their own. */
import { once } from "node:events";
import type { Readable, Writable } from "node:stream";

export interface CliIo {
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly stdout: Writable & { readonly isTTY?: boolean; readonly columns?: number };
  readonly stderr: Writable & { readonly isTTY?: boolean };
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborted by Ctrl-C. Default: Ctrl-C ends the process. */
  readonly signal?: AbortSignal | undefined;
}

/** The reader closed the pipe, as `head` does. The command ends with exit code 0. */
export class OutputClosedError extends Error {
  override readonly name = "OutputClosedError";
}

/** Standard output, with backpressure from its reader. */
export class Output {
  private isClosed = false;
  private readonly closing = new AbortController();

  constructor(private readonly stream: CliIo["stdout"]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
      this.isClosed = true;
      this.closing.abort(new OutputClosedError());
    });
  }

  /** Aborted when the reader has closed the pipe. */
  get closed(): AbortSignal {
    return this.closing.signal;
  }

  get isTerminal(): boolean {
    return this.stream.isTTY === true;
  }

  get columns(): number {
    return this.stream.columns ?? 80;
  }

  /** Throws OutputClosedError if the reader has closed the pipe. */
  async write(data: string | Uint8Array): Promise<void> {
    if (this.isClosed) throw new OutputClosedError();
    if (this.stream.write(data)) return;
    await once(this.stream, "drain", { signal: this.closing.signal }).catch(() => {
      throw new OutputClosedError();
    });
  }

  line(text: string): Promise<void> {
    return this.write(`${text}\n`);
  }
}
