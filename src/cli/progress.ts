/** Shows the progress of a long command on standard error: a bar on a terminal, otherwise a line every 10 seconds. */
import type { SingleBar } from "cli-progress";
import type { Session } from "./session.js";

const LINE_INTERVAL_MS = 10_000;

export interface Progress {
  /** `fraction`: 0 to 1. `text`: describes the progress. */
  update(fraction: number, text: () => string): void;
  /** Removes the bar. */
  stop(): void;
}

/** `label`: the command, such as `export`. Shows nothing with --json. */
export async function startProgress(session: Session, label: string): Promise<Progress> {
  const { stderr } = session.io;
  if (session.json) return { update: () => undefined, stop: () => undefined };
  if (stderr.isTTY === true) return barOf(await newBar(session, label));
  let lastMs = performance.now();
  return {
    update(_fraction, text) {
      const nowMs = performance.now();
      if (nowMs - lastMs < LINE_INTERVAL_MS) return;
      lastMs = nowMs;
      stderr.write(`ironflow-kv: ${label}: ${text()}\n`);
    },
    stop: () => undefined,
  };
}

async function newBar(session: Session, label: string): Promise<SingleBar> {
  // Loaded on demand: most commands draw no bar.
  const { default: cliProgress } = await import("cli-progress");
  return new cliProgress.SingleBar({
    format: `${label} [{bar}] {percentage}% | {text}`,
    stream: session.io.stderr,
    clearOnComplete: true,
    hideCursor: true,
    fps: 10,
  });
}

function barOf(bar: SingleBar): Progress {
  const steps = 1_000;
  bar.start(steps, 0, { text: "" });
  return {
    update: (fraction, text) => bar.update(Math.floor(fraction * steps), { text: text() }),
    stop: () => bar.stop(),
  };
}
