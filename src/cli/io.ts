/** What the command line reads from and writes to. `main.ts` gives the process's own; tests give theirs. */
import { once } from "node:events";
import type { Readable, Writable } from "node:stream";

export interface CliIo {
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly stdout: Writable & { readonly isTTY?: boolean; readonly columns?: number };
  readonly stderr: Writable & { readonly isTTY?: boolean };
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborted by Ctrl-C, where the caller wants running verbs to end by themselves rather than with the process. */
  readonly signal?: AbortSignal | undefined;
}

/** Whoever reads the output has enough of it, as `head` does. Ends the command quietly. */
export class OutputClosedError extends Error {
  override readonly name = "OutputClosedError";
}

/** Standard output, written at the pace of whoever reads it. */
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

  /** Aborted when nobody reads any more. */
  get closed(): AbortSignal {
    return this.closing.signal;
  }

  get isTerminal(): boolean {
    return this.stream.isTTY === true;
  }

  get columns(): number {
    return this.stream.columns ?? 80;
  }

  /** Throws OutputClosedError when nobody reads any more. */
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
